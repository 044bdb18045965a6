#include "ring.h"

#include <arpa/inet.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <net/if.h>
#include <poll.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

namespace whichpod {
namespace {

// TPACKET_V3 packs frames of any size into a block; the kernel still wants a frame size that divides
// the block (packet_set_ring in net/packet/af_packet.c) and does nothing with it.
constexpr uint32_t kFrameBytes = 2048;

// Packets a second from which on the ring is looked at once a millisecond. Below, the kernel wakes the
// reader for each block, which is the same rate at most, but sooner.
constexpr uint32_t kBusyPackets = 20'000;

bool AttachFilter(int fd, const std::vector<sock_filter>& filter, OsError* error) {
  sock_fprog program{};
  program.len = static_cast<unsigned short>(filter.size());
  program.filter = const_cast<sock_filter*>(filter.data());
  if (setsockopt(fd, SOL_SOCKET, SO_ATTACH_FILTER, &program, sizeof program) == 0) return true;
  *error = {errno, "setsockopt(SO_ATTACH_FILTER)"};
  return false;
}

size_t Padded(size_t bytes) { return (bytes + 3) & ~size_t{3}; }

}  // namespace

std::unique_ptr<PacketRing> PacketRing::Open(const RingOptions& options, Mailbox* mailbox,
                                             OsError* error) {
  std::unique_ptr<PacketRing> ring(new PacketRing(mailbox));
  PacketRing* const self = ring.get();
  if (!ring->Setup(options, error)) return nullptr;
  if (!ring->thread_.Start("whichpod-ring", [self] { self->Run(); }, error)) return nullptr;
  return ring;
}

bool PacketRing::Setup(const RingOptions& options, OsError* error) {
  // Protocol 0 receives nothing until bind() names one, so nothing comes in unfiltered.
  fd_ = socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC, 0);
  if (fd_ < 0) {
    *error = {errno, "socket(AF_PACKET)"};
    return false;
  }
  const int version = TPACKET_V3;
  if (setsockopt(fd_, SOL_PACKET, PACKET_VERSION, &version, sizeof version) != 0) {
    *error = {errno, "setsockopt(PACKET_VERSION)"};
    return false;
  }
  if (!AttachFilter(fd_, options.filter, error)) return false;

  tpacket_req3 request{};
  request.tp_block_size = options.block_bytes;
  request.tp_block_nr = options.blocks;
  request.tp_frame_size = kFrameBytes;
  request.tp_frame_nr = options.block_bytes / kFrameBytes * options.blocks;
  request.tp_retire_blk_tov = options.block_timeout_ms;
  if (setsockopt(fd_, SOL_PACKET, PACKET_RX_RING, &request, sizeof request) != 0) {
    *error = {errno, "setsockopt(PACKET_RX_RING)"};
    return false;
  }
  const size_t length = size_t{options.block_bytes} * options.blocks;
  void* const map = mmap(nullptr, length, PROT_READ | PROT_WRITE, MAP_SHARED, fd_, 0);
  if (map == MAP_FAILED) {
    *error = {errno, "mmap"};
    return false;
  }
  map_ = static_cast<uint8_t*>(map);
  block_bytes_ = options.block_bytes;
  blocks_ = options.blocks;

  sockaddr_ll everything{};
  everything.sll_family = AF_PACKET;
  // ETH_P_ALL: taps for one protocol do not see outgoing packets.
  everything.sll_protocol = htons(ETH_P_ALL);
  everything.sll_ifindex = 0;
  if (bind(fd_, reinterpret_cast<sockaddr*>(&everything), sizeof everything) != 0) {
    *error = {errno, "bind"};
    return false;
  }
  return true;
}

PacketRing::~PacketRing() {
  mailbox_->Stop();
  thread_.Stop();
  if (map_ != nullptr) munmap(map_, block_bytes_ * blocks_);
  if (fd_ >= 0) close(fd_);
}

void PacketRing::Run() {
  Pace pace(kBusyPackets);
  size_t current = 0;
  uint32_t packets = 0;
  while (!thread_.stopping()) {
    uint8_t* const block = map_ + current * block_bytes_;
    auto* const header = &reinterpret_cast<tpacket_block_desc*>(block)->hdr.bh1;
    if (__atomic_load_n(&header->block_status, __ATOMIC_ACQUIRE) & TP_STATUS_USER) {
      // A record's header is smaller than the kernel's own before each frame, so the block's used
      // part is room enough.
      if (!mailbox_->WaitForRoom(header->blk_len)) return;
      packets += CopyBlock(block);
      __atomic_store_n(&header->block_status, TP_STATUS_KERNEL, __ATOMIC_RELEASE);
      current = (current + 1) % blocks_;
      continue;
    }
    mailbox_->Announce();
    const int64_t now = Monotonic();
    const bool busy = pace.Busy(packets, now);
    packets = 0;
    pollfd fds[2] = {{fd_, POLLIN, 0}, {thread_.wake_fd(), POLLIN, 0}};
    const int ready = busy ? Pace::Sleep(thread_.wake_fd(), now) : poll(fds, 2, -1);
    if (ready < 0 && errno != EINTR) {
      mailbox_->Fail({errno, "poll"});
      return;
    }
    if (fds[0].revents & POLLERR) {
      // Reading the pending error clears it. An unbound socket outlives its interfaces, so there is
      // nothing else to do.
      int pending = 0;
      socklen_t size = sizeof pending;
      getsockopt(fd_, SOL_SOCKET, SO_ERROR, &pending, &size);
    }
  }
}

uint32_t PacketRing::CopyBlock(const uint8_t* block) {
  static_assert(sizeof(PacketRecord) <= TPACKET_ALIGN(sizeof(tpacket3_hdr)), "see Run");
  const auto* const header = &reinterpret_cast<const tpacket_block_desc*>(block)->hdr.bh1;
  const uint32_t count = header->num_pkts;
  uint32_t offset = header->offset_to_first_pkt;
  for (uint32_t i = 0; i < count; i++) {
    const auto* const packet = reinterpret_cast<const tpacket3_hdr*>(block + offset);
    const auto* const from = reinterpret_cast<const sockaddr_ll*>(
        block + offset + TPACKET_ALIGN(sizeof(tpacket3_hdr)));
    PacketRecord record{};
    record.seconds = packet->tp_sec;
    record.nanoseconds = packet->tp_nsec;
    record.interface = static_cast<uint32_t>(from->sll_ifindex);
    record.packet_type = from->sll_pkttype;
    record.hardware = from->sll_hatype;
    record.protocol = ntohs(from->sll_protocol);
    if (packet->tp_status & TP_STATUS_VLAN_VALID) {
      const uint32_t tpid =
          packet->tp_status & TP_STATUS_VLAN_TPID_VALID ? packet->hv1.tp_vlan_tpid : ETH_P_8021Q;
      record.vlan = tpid << 16 | (packet->hv1.tp_vlan_tci & 0xffff);
    }
    record.net_offset = packet->tp_net - packet->tp_mac;
    record.captured = packet->tp_snaplen;
    record.on_wire = packet->tp_len;
    const size_t length = Padded(record.captured);
    uint8_t* const room = mailbox_->Add(sizeof record + length,
                                        packet->tp_sec * kSecondNs + packet->tp_nsec);
    memcpy(room, &record, sizeof record);
    memcpy(room + sizeof record, block + offset + packet->tp_mac, record.captured);
    memset(room + sizeof record + record.captured, 0, length - record.captured);
    offset += packet->tp_next_offset;
  }
  return count;
}

bool PacketRing::SetFilter(const std::vector<sock_filter>& filter, OsError* error) {
  return AttachFilter(fd_, filter, error);
}

bool PacketRing::Stats(RingStats* stats, OsError* error) {
  tpacket_stats_v3 since{};
  socklen_t size = sizeof since;
  if (getsockopt(fd_, SOL_PACKET, PACKET_STATISTICS, &since, &size) != 0) {
    *error = {errno, "getsockopt(PACKET_STATISTICS)"};
    return false;
  }
  stats_.packets += since.tp_packets;
  stats_.drops += since.tp_drops;
  stats_.freezes += since.tp_freeze_q_cnt;
  *stats = stats_;
  return true;
}

bool PacketRing::InterfaceName(uint32_t index, char* name, OsError* error) {
  ifreq request{};
  request.ifr_ifindex = static_cast<int>(index);
  if (ioctl(fd_, SIOCGIFNAME, &request) != 0) {
    *error = {errno, "ioctl(SIOCGIFNAME)"};
    return false;
  }
  memcpy(name, request.ifr_name, IFNAMSIZ);
  name[IFNAMSIZ - 1] = '\0';
  return true;
}

}  // namespace whichpod
