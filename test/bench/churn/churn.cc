// Client and server for the live benchmarks: TCP connections over IPv4, as many as the kernel makes, at
// little cost of their own, so that what is measured is the observer.
//
//   churn server PORT
//   churn client HOST PORT CONNECTIONS CONCURRENCY PER_SECOND [TIMES]
//
// The server accepts and closes until its stdin ends; it says `ready` when it listens. The client resets
// each connection as soon as it stands, so that no port waits in TIME_WAIT, and ends with a line of JSON.
// PER_SECOND 0: as many as the kernel makes. TIMES is a file for the moment before each connect(2), in ns since
// 1970, and the connection's port, as 64 bits each in the machine's byte order; they are added at its end.

#include <arpa/inet.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <vector>

namespace {

constexpr int kEvents = 256;
// Longer than any burst, so that no SYN is dropped for want of room.
constexpr int kBacklog = 4096;
constexpr int64_t kSecondNs = 1'000'000'000;
// A connection that does not stand after so long never will.
constexpr int64_t kPatienceNs = 10 * kSecondNs;

[[noreturn]] void Fail(const char* what) {
  fprintf(stderr, "churn: %s: %s\n", what, strerror(errno));
  exit(1);
}

int64_t Now(clockid_t clock = CLOCK_MONOTONIC) {
  timespec now{};
  clock_gettime(clock, &now);
  return now.tv_sec * kSecondNs + now.tv_nsec;
}

void Watch(int epoll, int fd, uint32_t events) {
  epoll_event event{};
  event.events = events;
  event.data.fd = fd;
  if (epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event) != 0) Fail("epoll_ctl");
}

int Serve(uint16_t port) {
  const int listener = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
  if (listener < 0) Fail("socket");
  const int on = 1;
  setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(port);
  if (bind(listener, reinterpret_cast<sockaddr*>(&address), sizeof address) != 0) Fail("bind");
  if (listen(listener, kBacklog) != 0) Fail("listen");
  puts("ready");
  fflush(stdout);
  pollfd fds[] = {{listener, POLLIN, 0}, {STDIN_FILENO, POLLIN, 0}};
  for (;;) {
    if (poll(fds, 2, -1) < 0 && errno != EINTR) Fail("poll");
    if (fds[1].revents != 0) {
      char byte;
      if (read(STDIN_FILENO, &byte, 1) <= 0) return 0;
    }
    for (int fd; (fd = accept(listener, nullptr, nullptr)) >= 0;) close(fd);
  }
}

class Client {
 public:
  Client(const sockaddr_in& to, long connections, long concurrency, long per_second, FILE* times)
      : to_(to),
        connections_(connections),
        concurrency_(concurrency),
        per_second_(per_second),
        times_(times) {
    begins_.reserve(times == nullptr ? 0 : static_cast<size_t>(connections));
  }

  int Run() {
    const int64_t start = Now();
    int64_t moved = start;
    epoll_event events[kEvents];
    while (stood_ + failed_ < connections_) {
      while (open_ < concurrency_ && begun_ < Due(Now() - start)) Begin();
      const int count = Wait(events, start);
      const int64_t now = Now();
      for (int i = 0; i < count; i++) Finish(events[i]);
      if (count > 0 || open_ == 0) moved = now;
      if (now - moved > kPatienceNs) {
        errno = ETIMEDOUT;
        Fail("no connection stands any more");
      }
    }
    if (times_ != nullptr) {
      const size_t written = fwrite(begins_.data(), sizeof(Beginning), begins_.size(), times_);
      if (fclose(times_) != 0 || written != begins_.size()) Fail("the times");
    }
    printf("{\"connected\":%ld,\"failed\":%ld,\"seconds\":%.6f}\n", stood_, failed_,
           static_cast<double>(Now() - start) / kSecondNs);
    return 0;
  }

 private:
  // How many are to have begun after so long.
  long Due(int64_t elapsed) const {
    if (per_second_ == 0) return connections_;
    const double due = static_cast<double>(elapsed) / kSecondNs * static_cast<double>(per_second_);
    return std::min(connections_, static_cast<long>(due) + 1);
  }

  int Wait(epoll_event* events, int64_t start) {
    timespec timeout{1, 0};
    if (per_second_ != 0 && begun_ < connections_ && open_ < concurrency_) {
      const int64_t next = start + begun_ * kSecondNs / per_second_;
      const int64_t left = std::clamp<int64_t>(next - Now(), 0, kSecondNs - 1);
      timeout = {0, static_cast<long>(left)};
    }
    pollfd fds[] = {{epoll_, POLLIN, 0}};
    if (ppoll(fds, 1, &timeout, nullptr) < 0 && errno != EINTR) Fail("ppoll");
    const int count = epoll_wait(epoll_, events, kEvents, 0);
    return std::max(count, 0);
  }

  void Begin() {
    begun_++;
    const int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
    if (fd < 0) Fail("socket");
    const linger reset{1, 0};
    setsockopt(fd, SOL_SOCKET, SO_LINGER, &reset, sizeof reset);
    const int64_t before = times_ == nullptr ? 0 : Now(CLOCK_REALTIME);
    if (connect(fd, reinterpret_cast<const sockaddr*>(&to_), sizeof to_) != 0 &&
        errno != EINPROGRESS) {
      failed_++;
      close(fd);
      return;
    }
    if (times_ != nullptr) begins_.push_back({before, PortOf(fd)});
    open_++;
    Watch(epoll_, fd, EPOLLOUT);
  }

  void Finish(const epoll_event& event) {
    if ((event.events & EPOLLERR) != 0) failed_++;
    else stood_++;
    open_--;
    close(event.data.fd);
  }

  struct Beginning {
    int64_t at;
    int64_t port;
  };

  static int64_t PortOf(int fd) {
    sockaddr_in own{};
    socklen_t size = sizeof own;
    if (getsockname(fd, reinterpret_cast<sockaddr*>(&own), &size) != 0) Fail("getsockname");
    return ntohs(own.sin_port);
  }

  const sockaddr_in to_;
  const long connections_;
  const long concurrency_;
  const long per_second_;
  FILE* const times_;
  std::vector<Beginning> begins_;
  const int epoll_ = epoll_create1(0);
  long begun_ = 0;
  long open_ = 0;
  long stood_ = 0;
  long failed_ = 0;
};

// A whole number of at least `least`.
long Number(const char* text, long least) {
  char* end = nullptr;
  const long value = strtol(text, &end, 10);
  if (*text == '\0' || *end != '\0' || value < least) {
    fprintf(stderr, "churn: %s is no number that fits\n", text);
    exit(2);
  }
  return value;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc == 3 && strcmp(argv[1], "server") == 0) {
    return Serve(static_cast<uint16_t>(Number(argv[2], 1)));
  }
  if ((argc == 7 || argc == 8) && strcmp(argv[1], "client") == 0) {
    sockaddr_in to{};
    to.sin_family = AF_INET;
    to.sin_port = htons(static_cast<uint16_t>(Number(argv[3], 1)));
    if (inet_pton(AF_INET, argv[2], &to.sin_addr) == 1) {
      FILE* const times = argc == 8 ? fopen(argv[7], "ab") : nullptr;
      if (argc == 8 && times == nullptr) Fail(argv[7]);
      return Client(to, Number(argv[4], 1), Number(argv[5], 1), Number(argv[6], 0), times).Run();
    }
  }
  fputs(
      "usage: churn server PORT | churn client HOST PORT CONNECTIONS CONCURRENCY PER_SECOND [TIMES]\n",
      stderr);
  return 2;
}
