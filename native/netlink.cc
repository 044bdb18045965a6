#include "netlink.h"

#include <linux/netlink.h>
#include <linux/sock_diag.h>
#include <poll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

namespace whichpod {
namespace {

// Datagrams read at once, and room for each. The kernel fills a listing's datagrams up to 32 KiB
// (netlink_recvmsg in net/netlink/af_netlink.c caps the hint at SKB_WITH_OVERHEAD(32768)); events are
// a few hundred bytes.
constexpr unsigned kDatagrams = 32;
constexpr size_t kDatagramBytes = 64 * 1024;

// Quiet: each datagram is handed over at once. Busy: the reader sleeps for a millisecond between two
// looks, so that waking costs the same however much comes. Busy begins at 6,000 datagrams a second,
// counted in windows of 10 ms: below that, waking costs less than a tenth of a core.
constexpr int64_t kWindowNs = 10'000'000;
constexpr uint32_t kBusyDatagrams = 60;
constexpr int kCoalesceMs = 1;

int64_t Monotonic() {
  timespec now{};
  clock_gettime(CLOCK_MONOTONIC, &now);
  return now.tv_sec * int64_t{1'000'000'000} + now.tv_nsec;
}

class Pace {
 public:
  bool Busy(uint32_t datagrams, int64_t now) {
    const int64_t elapsed = now - begin_;
    if (elapsed >= kWindowNs) {
      // A window that was looked at late is as good as over: what it counted says nothing of now.
      busy_ = elapsed < 2 * kWindowNs && count_ >= kBusyDatagrams;
      begin_ = now;
      count_ = 0;
    }
    count_ += datagrams;
    if (count_ >= kBusyDatagrams) busy_ = true;
    return busy_;
  }

 private:
  int64_t begin_ = 0;
  uint32_t count_ = 0;
  bool busy_ = false;
};

uint32_t Saturated(int64_t ns) {
  if (ns < 0) return 0;
  return ns > int64_t{UINT32_MAX} ? UINT32_MAX : static_cast<uint32_t>(ns);
}

uint32_t KernelDrops(int fd) {
  uint32_t values[SK_MEMINFO_VARS] = {};
  socklen_t size = sizeof values;
  if (getsockopt(fd, SOL_SOCKET, SO_MEMINFO, values, &size) != 0) return 0;
  return values[SK_MEMINFO_DROPS];
}

void AppendRecord(std::vector<uint8_t>& out, const NetlinkRecord& record, const void* bytes) {
  const size_t at = out.size();
  out.resize(at + sizeof record + ((size_t{record.length} + 3) & ~size_t{3}));
  memcpy(out.data() + at, &record, sizeof record);
  memcpy(out.data() + at + sizeof record, bytes, record.length);
}

}  // namespace

std::unique_ptr<NetlinkSocket> NetlinkSocket::Open(const NetlinkOptions& options, Mailbox* mailbox,
                                                   OsError* error) {
  std::unique_ptr<NetlinkSocket> opened(new NetlinkSocket(mailbox));
  NetlinkSocket* const self = opened.get();
  if (!opened->Setup(options, error)) return nullptr;
  if (!opened->thread_.Start("whichpod-nl", [self] { self->Run(); }, error)) return nullptr;
  return opened;
}

bool NetlinkSocket::Setup(const NetlinkOptions& options, OsError* error) {
  fd_ = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, options.protocol);
  if (fd_ < 0) {
    *error = {errno, "socket(AF_NETLINK)"};
    return false;
  }
  const int wanted = static_cast<int>(options.receive_buffer_bytes);
  if (setsockopt(fd_, SOL_SOCKET, SO_RCVBUFFORCE, &wanted, sizeof wanted) != 0 &&
      setsockopt(fd_, SOL_SOCKET, SO_RCVBUF, &wanted, sizeof wanted) != 0) {
    *error = {errno, "setsockopt(SO_RCVBUF)"};
    return false;
  }
  int granted = 0;
  socklen_t size = sizeof granted;
  if (getsockopt(fd_, SOL_SOCKET, SO_RCVBUF, &granted, &size) == 0) {
    receive_buffer_bytes_ = static_cast<uint32_t>(granted);
  }
  sockaddr_nl self{};
  self.nl_family = AF_NETLINK;
  if (bind(fd_, reinterpret_cast<sockaddr*>(&self), sizeof self) != 0) {
    *error = {errno, "bind"};
    return false;
  }
  for (const uint32_t group : options.groups) {
    if (setsockopt(fd_, SOL_NETLINK, NETLINK_ADD_MEMBERSHIP, &group, sizeof group) != 0) {
      *error = {errno, "setsockopt(NETLINK_ADD_MEMBERSHIP)"};
      return false;
    }
  }
  return true;
}

NetlinkSocket::~NetlinkSocket() {
  mailbox_->Stop();
  thread_.Stop();
  if (fd_ >= 0) close(fd_);
}

bool NetlinkSocket::Send(const uint8_t* bytes, size_t length, OsError* error) {
  sockaddr_nl kernel{};
  kernel.nl_family = AF_NETLINK;
  const ssize_t sent = sendto(fd_, bytes, length, MSG_DONTWAIT,
                              reinterpret_cast<sockaddr*>(&kernel), sizeof kernel);
  if (sent >= 0) return true;
  *error = {errno, "sendto"};
  return false;
}

void NetlinkSocket::Run() {
  // Not initialised: only what datagrams fill becomes resident.
  const std::unique_ptr<uint8_t[]> room(new uint8_t[kDatagrams * kDatagramBytes]);
  mmsghdr messages[kDatagrams];
  iovec parts[kDatagrams];
  sockaddr_nl senders[kDatagrams];
  Pace pace;
  bool busy = false;
  bool overrun = false;
  uint32_t drops = KernelDrops(fd_);
  // The socket was last known to hold nothing at this moment.
  int64_t empty = Monotonic();
  timespec empty_real{};
  clock_gettime(CLOCK_REALTIME, &empty_real);
  timespec gap_began{};

  while (!thread_.stopping()) {
    // Before reading, so that what there is no room for stays in the socket.
    if (!mailbox_->WaitForRoom(kDatagrams * (kDatagramBytes + sizeof(NetlinkRecord)))) return;
    for (unsigned i = 0; i < kDatagrams; i++) {
      parts[i] = {room.get() + i * kDatagramBytes, kDatagramBytes};
      messages[i] = {};
      messages[i].msg_hdr.msg_iov = &parts[i];
      messages[i].msg_hdr.msg_iovlen = 1;
      messages[i].msg_hdr.msg_name = &senders[i];
      messages[i].msg_hdr.msg_namelen = sizeof senders[i];
    }
    const int got = recvmmsg(fd_, messages, kDatagrams, MSG_DONTWAIT, nullptr);
    const int number = errno;
    const int64_t now = Monotonic();
    timespec real{};
    clock_gettime(CLOCK_REALTIME, &real);

    if (got > 0) {
      NetlinkRecord record{};
      record.seconds = static_cast<uint32_t>(real.tv_sec);
      record.nanoseconds = static_cast<uint32_t>(real.tv_nsec);
      record.waited = Saturated(now - empty);
      mailbox_->Append([&](std::vector<uint8_t>& out) {
        uint32_t count = 0;
        for (int i = 0; i < got; i++) {
          // Only the kernel is believed: its port is 0.
          if (senders[i].nl_pid != 0) continue;
          record.length = messages[i].msg_len;
          record.kind = messages[i].msg_hdr.msg_flags & MSG_TRUNC ? kTruncated : kDatagram;
          AppendRecord(out, record, parts[i].iov_base);
          count++;
        }
        return count;
      });
      busy = pace.Busy(static_cast<uint32_t>(got), now);
      if (!busy) mailbox_->Announce();
      continue;
    }
    if (got < 0 && number == ENOBUFS) {
      // What is queued is older than the gap; the kernel queues nothing more until that has been
      // read (NETLINK_S_CONGESTED), so the gap ends when the socket is empty.
      if (!overrun) gap_began = empty_real;
      overrun = true;
      continue;
    }
    if (got < 0 && number != EAGAIN && number != EINTR) {
      mailbox_->Fail({number, "recvmmsg"});
      return;
    }

    if (overrun && number == EAGAIN) {
      overrun = false;
      const uint32_t total = KernelDrops(fd_);
      const uint32_t words[3] = {total - drops, static_cast<uint32_t>(gap_began.tv_sec),
                                 static_cast<uint32_t>(gap_began.tv_nsec)};
      drops = total;
      NetlinkRecord record{};
      record.length = sizeof words;
      record.kind = kGap;
      record.seconds = static_cast<uint32_t>(real.tv_sec);
      record.nanoseconds = static_cast<uint32_t>(real.tv_nsec);
      record.waited = Saturated(now - empty);
      mailbox_->Append([&](std::vector<uint8_t>& out) {
        AppendRecord(out, record, words);
        return 1u;
      });
    }
    mailbox_->Announce();
    empty = now;
    empty_real = real;

    busy = busy && pace.Busy(0, now);
    pollfd fds[2] = {{thread_.wake_fd(), POLLIN, 0}, {fd_, POLLIN, 0}};
    const int ready = busy ? poll(fds, 1, kCoalesceMs) : poll(fds, 2, -1);
    if (ready < 0 && errno != EINTR) {
      mailbox_->Fail({errno, "poll"});
      return;
    }
    if (!busy) {
      // Having slept until something came, it has only just come.
      empty = Monotonic();
      clock_gettime(CLOCK_REALTIME, &empty_real);
    }
  }
}

}  // namespace whichpod
