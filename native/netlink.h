#pragma once

// A netlink socket (netlink(7)) of any protocol: hands over what comes, whole datagrams,
// uninterpreted, and what the kernel answers to requests.

#include <cstdint>
#include <memory>
#include <mutex>
#include <vector>

#include "mailbox.h"
#include "os-error.h"
#include "reader-thread.h"

namespace whichpod {

enum NetlinkRecordKind : uint32_t {
  kDatagram = 0,
  // The datagram was larger than our buffer; what follows is its beginning.
  kTruncated = 1,
  // The socket's buffer overran (ENOBUFS) and has been read empty since: between `seconds` -
  // `waited` and `seconds` messages are missing. Three words follow: the number of messages that
  // the kernel dropped, and seconds and nanoseconds at which the gap began.
  kGap = 2,
  // A request could not be sent, or its answer not be read further. One word follows: errno.
  kRequestFailed = 3,
};

// What stands before every datagram in a batch, in host order. The bytes follow, padded with zeros
// to a multiple of 4. src/native/binding.ts states the same layout.
struct NetlinkRecord {
  uint32_t length;       // bytes that follow, without padding
  uint32_t kind;         // NetlinkRecordKind
  uint32_t seconds;      // CLOCK_REALTIME at which it was read
  uint32_t nanoseconds;
  uint32_t waited;       // ns that it may have waited in the socket before it was read, at most ~4.29e9
};
static_assert(sizeof(NetlinkRecord) == 20, "binding.ts reads five words");

struct NetlinkOptions {
  int protocol;                  // NETLINK_NETFILTER ...
  std::vector<uint32_t> groups;  // multicast groups by number, from 1
  uint32_t receive_buffer_bytes;
};

class NetlinkSocket {
 public:
  // Opens, joins the groups and starts reading into `mailbox`, which must outlive the socket;
  // nullptr and `error` on failure. The buffer is forced beyond net.core.rmem_max where
  // CAP_NET_ADMIN allows it, else made as large as allowed.
  static std::unique_ptr<NetlinkSocket> Open(const NetlinkOptions& options, Mailbox* mailbox,
                                             OsError* error);
  // Ends and joins the thread, then closes the socket.
  ~NetlinkSocket();

  // Sends one datagram to the kernel, which answers on this socket. Not for a dump.
  bool Send(const uint8_t* bytes, size_t length, OsError* error);

  // Has the reader send one datagram through a socket that is the requests' own, and read the answer
  // there; it comes between the events as they were read. So a dump neither fills the room that events
  // need nor leaves its errors on the socket that must not lose any. And only one thread ever touches
  // that socket: where a second one receives while the first still sends the request, both go on with
  // the dump, and the one that comes after its end puts EINVAL on the socket (cb_running in
  // netlink_dump and netlink_recvmsg, net/netlink/af_netlink.c).
  void Request(const uint8_t* bytes, size_t length);

  // What the kernel granted, its own book-keeping included (twice what was asked, socket(7)).
  uint32_t receive_buffer_bytes() const { return receive_buffer_bytes_; }

 private:
  class Reader;

  NetlinkSocket(Mailbox* mailbox, int protocol) : mailbox_(mailbox), protocol_(protocol) {}
  bool Setup(const NetlinkOptions& options, OsError* error);

  Mailbox* const mailbox_;
  const int protocol_;
  int fd_ = -1;
  uint32_t receive_buffer_bytes_ = 0;
  std::mutex mutex_;
  std::vector<std::vector<uint8_t>> requests_;
  ReaderThread thread_;
};

}  // namespace whichpod
