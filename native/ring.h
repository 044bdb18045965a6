#pragma once

// An AF_PACKET receive ring (TPACKET_V3, Documentation/networking/packet_mmap.rst) over all
// interfaces of the network namespace in which it is opened.
//
// The socket is of type SOCK_RAW, so a frame begins with its link header: only so a VLAN tag that
// still stands in the frame is read for certain (with SOCK_DGRAM the same frame looks different on
// its way in and out). Interfaces without such a header (tun, ipip, wireguard) are told by the
// record's hatype and netOffset. It joins no membership and never makes an interface promiscuous.

#include <linux/filter.h>

#include <cstdint>
#include <memory>
#include <vector>

#include "mailbox.h"
#include "os-error.h"
#include "pace.h"
#include "reader-thread.h"

namespace whichpod {

// What stands before every frame in a batch, in host order. The frame follows, padded with zeros to
// a multiple of 4 bytes. src/native/binding.ts states the same layout.
struct PacketRecord {
  uint32_t seconds;      // CLOCK_REALTIME at which the kernel took the packet
  uint32_t nanoseconds;
  uint32_t interface;    // index
  uint32_t packet_type;  // PACKET_HOST ... PACKET_OUTGOING, linux/if_packet.h
  uint32_t hardware;     // ARPHRD_ of the interface, linux/if_arp.h
  uint32_t protocol;     // skb's protocol (ETH_P_), host order
  uint32_t vlan;         // TPID << 16 | TCI of a tag that the kernel took out of the frame, else 0
  uint32_t net_offset;   // where the network header begins in the frame
  uint32_t captured;     // bytes of the frame that follow
  uint32_t on_wire;      // bytes that the frame had
};
static_assert(sizeof(PacketRecord) == 40, "binding.ts reads ten words");

struct RingOptions {
  uint32_t block_bytes;
  uint32_t blocks;
  uint32_t block_timeout_ms;
  std::vector<sock_filter> filter;  // what it returns is the snaplen; 0 drops
};

struct RingStats {
  uint64_t packets = 0;  // passed the filter, dropped ones included
  uint64_t drops = 0;    // found no room in the ring
  uint64_t freezes = 0;  // times that the ring was full
};

class PacketRing {
 public:
  // Opens and starts reading into `mailbox`, which must outlive the ring; nullptr and `error` on
  // failure. The filter is in place before the first packet can come.
  static std::unique_ptr<PacketRing> Open(const RingOptions& options, Mailbox* mailbox,
                                          OsError* error);
  // Ends and joins the thread, then gives the ring back to the kernel.
  ~PacketRing();

  // Replaces the filter; packets already in the ring are those of the old one.
  bool SetFilter(const std::vector<sock_filter>& filter, OsError* error);

  // Sums since the opening. One thread at a time: the kernel's counters start anew when read.
  bool Stats(RingStats* stats, OsError* error);

  // The name of an interface of the socket's namespace; false (ENODEV) if there is none. `name`
  // holds IFNAMSIZ bytes.
  bool InterfaceName(uint32_t index, char* name, OsError* error);

 private:
  explicit PacketRing(Mailbox* mailbox) : mailbox_(mailbox) {}
  bool Setup(const RingOptions& options, OsError* error);
  void Run();
  // Returns the number of its packets.
  uint32_t CopyBlock(const uint8_t* block);

  Mailbox* const mailbox_;
  int fd_ = -1;
  uint8_t* map_ = nullptr;
  size_t block_bytes_ = 0;
  size_t blocks_ = 0;
  RingStats stats_;
  ReaderThread thread_;
};

}  // namespace whichpod
