#pragma once

// How often a reader wakes JavaScript. Quiet: at once, for whatever came. Busy: once a millisecond,
// however much comes, since waking costs tens of microseconds on either side. All readers wake at the
// same moments, so that one waking serves them all.

#include <poll.h>
#include <time.h>

#include <cstdint>

namespace whichpod {

constexpr int64_t kSecondNs = 1'000'000'000;

inline int64_t NanosecondsOf(const timespec& time) {
  return time.tv_sec * kSecondNs + time.tv_nsec;
}

inline int64_t Monotonic() {
  timespec now{};
  clock_gettime(CLOCK_MONOTONIC, &now);
  return NanosecondsOf(now);
}

class Pace {
 public:
  // Busy begins at so many arrivals a second.
  explicit Pace(uint32_t busy_per_second)
      : busy_arrivals_(static_cast<uint32_t>(busy_per_second * kWindowNs / kSecondNs)) {}

  // Takes note of so many arrivals; whether it is busy.
  bool Busy(uint32_t arrivals, int64_t now) {
    const int64_t elapsed = now - begin_;
    if (elapsed >= kWindowNs) {
      // A window that was looked at late is as good as over: what it counted says nothing of now.
      busy_ = elapsed < 2 * kWindowNs && count_ >= busy_arrivals_;
      begin_ = now;
      count_ = 0;
    }
    count_ += arrivals;
    if (count_ >= busy_arrivals_) busy_ = true;
    return busy_;
  }

  // Sleeps until the next of the moments that all readers share; not when `wake` becomes readable.
  // Returns what poll() does.
  static int Sleep(int wake, int64_t now) {
    const int64_t left = kCoalesceNs - now % kCoalesceNs;
    const timespec timeout{0, static_cast<long>(left)};
    pollfd fds[1] = {{wake, POLLIN, 0}};
    return ppoll(fds, 1, &timeout, nullptr);
  }

 private:
  static constexpr int64_t kCoalesceNs = 1'000'000;
  static constexpr int64_t kWindowNs = 10'000'000;

  const uint32_t busy_arrivals_;
  int64_t begin_ = 0;
  uint32_t count_ = 0;
  bool busy_ = false;
};

}  // namespace whichpod
