#pragma once

// Where a reader thread leaves packed records and JavaScript's thread takes them: one buffer of
// bounded size. If nobody takes, the reader waits, and what arrives meanwhile stays in the kernel,
// which counts what it must drop.

#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <mutex>
#include <vector>

#include "os-error.h"

namespace whichpod {

// Bytes that may wait for JavaScript. 4 MiB hold some 15,000 packets or conntrack messages: a tenth
// of a second at the highest rates measured, and no more than a few milliseconds of decoding at once.
constexpr size_t kMailboxLimit = 4u << 20;

class Mailbox {
 public:
  // `notify` is called on the reader's thread, outside the lock, at most once between two Takes.
  explicit Mailbox(std::function<void()> notify) : notify_(std::move(notify)) {}

  // Reader. Waits until `bytes` more fit (an empty mailbox takes any amount); false once stopped.
  bool WaitForRoom(size_t bytes);

  // Reader. Runs `write(std::vector<uint8_t>&)`, which appends records and returns their number.
  template <typename Write>
  void Append(Write write) {
    std::lock_guard<std::mutex> lock(mutex_);
    count_ += write(bytes_);
  }

  // Reader. Wakes JavaScript if there is something to take and it has not been woken already.
  void Announce();

  // Reader. Leaves an error after the last record, and announces it; the reader then ends.
  void Fail(const OsError& error);

  struct Taken {
    uint32_t count;
    bool failed;
    OsError error;
  };

  // JavaScript. Swaps the content into `into`, whose old content is forgotten and memory reused.
  Taken Take(std::vector<uint8_t>* into);

  // Any thread. Releases a reader that waits for room; the mailbox takes and says nothing more.
  void Stop();

 private:
  std::mutex mutex_;
  std::condition_variable room_;
  std::vector<uint8_t> bytes_;
  uint32_t count_ = 0;
  bool announced_ = false;
  bool stopped_ = false;
  bool failed_ = false;
  OsError error_;
  const std::function<void()> notify_;
};

}  // namespace whichpod
