#include "netlink.h"

#include <linux/netlink.h>
#include <linux/sock_diag.h>
#include <poll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "pace.h"

namespace whichpod {
namespace {

// Datagrams read at once, and room for each. The kernel fills a listing's datagrams up to 32 KiB
// (netlink_recvmsg in net/netlink/af_netlink.c caps the hint at SKB_WITH_OVERHEAD(32768)); events are
// a few hundred bytes.
constexpr unsigned kDatagrams = 32;
constexpr size_t kDatagramBytes = 64 * 1024;

// Two a connection. Below this rate of datagrams waking costs less than a tenth of a core, and a
// connection is told of within a tenth of a millisecond.
constexpr uint32_t kBusyDatagrams = 5'000;

// While more than this waits for JavaScript, a listing is not read further: the rest of the mailbox is
// for events, which do not wait for anyone.
constexpr size_t kAnswerBytes = 2u << 20;

// An error of the socket is told once, and what it cost is a gap like any other. A socket that tells
// nothing else any more is not read forever.
constexpr unsigned kErrorsInARow = 100;

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

int BindSocket(int protocol, OsError* error) {
  const int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, protocol);
  if (fd < 0) {
    *error = {errno, "socket(AF_NETLINK)"};
    return -1;
  }
  sockaddr_nl self{};
  self.nl_family = AF_NETLINK;
  if (bind(fd, reinterpret_cast<sockaddr*>(&self), sizeof self) == 0) return fd;
  *error = {errno, "bind"};
  close(fd);
  return -1;
}

bool SendTo(int fd, const uint8_t* bytes, size_t length) {
  sockaddr_nl kernel{};
  kernel.nl_family = AF_NETLINK;
  return sendto(fd, bytes, length, MSG_DONTWAIT, reinterpret_cast<sockaddr*>(&kernel),
                sizeof kernel) >= 0;
}

}  // namespace

// What runs on the thread.
class NetlinkSocket::Reader {
 public:
  explicit Reader(NetlinkSocket* socket)
      : it_(*socket), room_(new uint8_t[kDatagrams * kDatagramBytes]), drops_(KernelDrops(it_.fd_)) {}
  ~Reader() { CloseRequests(); }

  void Run() {
    Empty();
    while (!it_.thread_.stopping()) {
      // Before reading, so that what there is no room for stays in the socket.
      if (!it_.mailbox_->WaitForRoom(kDatagrams * (kDatagramBytes + sizeof(NetlinkRecord)))) return;
      SendRequests();
      // Events first: an entry in an answer is older than every event that is read after it.
      const int events = Read(it_.fd_);
      if (events > 0) {
        errors_ = 0;
        busy_ = pace_.Busy(static_cast<uint32_t>(events), now_);
        if (!busy_) it_.mailbox_->Announce();
        // Fewer than asked for: there were no more, or an error that the next look tells.
        if (events == static_cast<int>(kDatagrams) || overrun_) continue;
      } else if (errno == EAGAIN) {
        if (overrun_) Gap();
      } else if (errno == EINTR || Failed(errno)) {
        continue;
      } else {
        return;
      }
      empty_ = now_;
      empty_real_ = real_;
      if (ReadAnswer()) continue;
      if (!Wait()) return;
    }
  }

 private:
  // Datagrams that were read and added; -1 and errno if there were none.
  int Read(int fd) {
    for (unsigned i = 0; i < kDatagrams; i++) {
      parts_[i] = {room_.get() + i * kDatagramBytes, kDatagramBytes};
      messages_[i] = {};
      messages_[i].msg_hdr.msg_iov = &parts_[i];
      messages_[i].msg_hdr.msg_iovlen = 1;
      messages_[i].msg_hdr.msg_name = &senders_[i];
      messages_[i].msg_hdr.msg_namelen = sizeof senders_[i];
    }
    const int got = recvmmsg(fd, messages_, kDatagrams, MSG_DONTWAIT, nullptr);
    const int number = errno;
    Look();
    for (int i = 0; i < got; i++) {
      // Only the kernel is believed: its port is 0.
      if (senders_[i].nl_pid != 0) continue;
      const bool cut = (messages_[i].msg_hdr.msg_flags & MSG_TRUNC) != 0;
      Add(cut ? kTruncated : kDatagram, parts_[i].iov_base, messages_[i].msg_len);
    }
    errno = number;
    return got;
  }

  void Look() {
    now_ = Monotonic();
    clock_gettime(CLOCK_REALTIME, &real_);
  }

  // The events' socket is known to hold nothing.
  void Empty() {
    Look();
    empty_ = now_;
    empty_real_ = real_;
  }

  void Add(NetlinkRecordKind kind, const void* bytes, uint32_t length) {
    const NetlinkRecord record{length, kind, static_cast<uint32_t>(real_.tv_sec),
                               static_cast<uint32_t>(real_.tv_nsec), Saturated(now_ - empty_)};
    const size_t padded = (size_t{length} + 3) & ~size_t{3};
    uint8_t* const room = it_.mailbox_->Add(sizeof record + padded, NanosecondsOf(real_));
    memcpy(room, &record, sizeof record);
    memcpy(room + sizeof record, bytes, length);
    memset(room + sizeof record + length, 0, padded - length);
  }

  // What is queued is older than the gap; the kernel queues nothing more until that has been read
  // (NETLINK_S_CONGESTED), so the gap ends when the socket is empty. False if there is no going on.
  bool Failed(int number) {
    const bool lasting = number == EBADF || number == ENOTSOCK || number == EFAULT;
    if (lasting || ++errors_ > kErrorsInARow) {
      it_.mailbox_->Fail({number, "recvmmsg"});
      return false;
    }
    if (!overrun_) gap_began_ = empty_real_;
    overrun_ = true;
    return true;
  }

  void Gap() {
    overrun_ = false;
    const uint32_t total = KernelDrops(it_.fd_);
    const uint32_t words[3] = {total - drops_, static_cast<uint32_t>(gap_began_.tv_sec),
                               static_cast<uint32_t>(gap_began_.tv_nsec)};
    drops_ = total;
    Add(kGap, words, sizeof words);
  }

  void SendRequests() {
    std::vector<std::vector<uint8_t>> requests;
    {
      std::lock_guard<std::mutex> lock(it_.mutex_);
      requests.swap(it_.requests_);
    }
    for (const std::vector<uint8_t>& request : requests) {
      OsError error;
      if (request_fd_ < 0) request_fd_ = BindSocket(it_.protocol_, &error);
      if (request_fd_ < 0) {
        RequestFailed(error.number);
      } else if (!SendTo(request_fd_, request.data(), request.size())) {
        RequestFailed(errno);
      }
    }
  }

  // Whether there was any. The kernel makes an answer as fast as it is read, and JavaScript may be slower.
  bool ReadAnswer() {
    if (request_fd_ < 0) return false;
    answer_waits_ = it_.mailbox_->Waits().bytes > kAnswerBytes;
    if (answer_waits_) return false;
    const int got = Read(request_fd_);
    if (got > 0) {
      it_.mailbox_->Announce();
      return true;
    }
    if (got < 0 && errno != EAGAIN && errno != EINTR) RequestFailed(errno);
    return false;
  }

  // The rest of an answer must not be taken for a part of the next.
  void RequestFailed(int number) {
    const uint32_t word = static_cast<uint32_t>(number);
    CloseRequests();
    Add(kRequestFailed, &word, sizeof word);
  }

  void CloseRequests() {
    if (request_fd_ >= 0) close(request_fd_);
    request_fd_ = -1;
    answer_waits_ = false;
  }

  // Until there is something to do; false if there is no going on.
  bool Wait() {
    it_.mailbox_->Announce();
    busy_ = busy_ && pace_.Busy(0, now_);
    const int wake = it_.thread_.wake_fd();
    pollfd fds[3] = {{wake, POLLIN, 0}, {it_.fd_, POLLIN, 0}, {request_fd_, POLLIN, 0}};
    const bool sleep = busy_ || answer_waits_;
    const int ready = sleep ? Pace::Sleep(wake, now_) : poll(fds, 3, -1);
    if (ready < 0 && errno != EINTR) {
      it_.mailbox_->Fail({errno, "poll"});
      return false;
    }
    if (sleep ? ready > 0 : fds[0].revents != 0) it_.thread_.Heard();
    // Having slept until something came, it has only just come.
    if (!sleep) Empty();
    return true;
  }

  NetlinkSocket& it_;
  // Not initialised: only what datagrams fill becomes resident.
  const std::unique_ptr<uint8_t[]> room_;
  mmsghdr messages_[kDatagrams];
  iovec parts_[kDatagrams];
  sockaddr_nl senders_[kDatagrams];
  int request_fd_ = -1;
  bool answer_waits_ = false;
  Pace pace_{kBusyDatagrams};
  bool busy_ = false;
  bool overrun_ = false;
  unsigned errors_ = 0;
  uint32_t drops_;
  int64_t now_ = 0;
  timespec real_{};
  // The socket was last known to hold nothing at this moment.
  int64_t empty_ = 0;
  timespec empty_real_{};
  timespec gap_began_{};
};

std::unique_ptr<NetlinkSocket> NetlinkSocket::Open(const NetlinkOptions& options, Mailbox* mailbox,
                                                   OsError* error) {
  std::unique_ptr<NetlinkSocket> opened(new NetlinkSocket(mailbox, options.protocol));
  NetlinkSocket* const self = opened.get();
  if (!opened->Setup(options, error)) return nullptr;
  const auto run = [self] { Reader(self).Run(); };
  if (!opened->thread_.Start("whichpod-nl", run, error)) return nullptr;
  return opened;
}

bool NetlinkSocket::Setup(const NetlinkOptions& options, OsError* error) {
  fd_ = BindSocket(protocol_, error);
  if (fd_ < 0) return false;
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
  if (SendTo(fd_, bytes, length)) return true;
  *error = {errno, "sendto"};
  return false;
}

void NetlinkSocket::Request(const uint8_t* bytes, size_t length) {
  {
    std::lock_guard<std::mutex> lock(mutex_);
    requests_.emplace_back(bytes, bytes + length);
  }
  thread_.Wake();
}

}  // namespace whichpod
