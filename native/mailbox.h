#pragma once

// Where a reader thread leaves packed records and JavaScript's thread takes them, in chunks of bounded
// size and known age. If nobody takes, the reader goes on until the bound is reached; then it waits,
// and what arrives meanwhile stays in the kernel, which counts what it must drop.

#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <functional>
#include <mutex>
#include <vector>

#include "os-error.h"

namespace whichpod {

// Bytes that may wait for JavaScript: some 700,000 packets or 400,000 conntrack messages, nine seconds at
// 10,000 connections a second. On two processors that have nothing left JavaScript is three seconds behind
// until its code has been compiled. They wait here rather than in the kernel because the reader notes when
// they came: what waits in a netlink socket has no time yet, and 16 MiB of ring are a quarter second.
constexpr size_t kMailboxLimit = 96u << 20;

// A chunk is taken at once, so it is what JavaScript decodes without coming round: about a millisecond.
constexpr size_t kChunkBytes = 64u << 10;

// While nobody takes, small chunks are put together as long as they stay this close in time: sources
// are read in turn by the ages of their chunks.
constexpr int64_t kChunkSpanNs = 5'000'000;

struct Chunk {
  std::vector<uint8_t> bytes;
  uint32_t count = 0;  // records
  int64_t since = 0;   // CLOCK_REALTIME of the first record, ns
};

class Mailbox {
 public:
  // `notify` is called on the reader's thread, outside the lock.
  explicit Mailbox(std::function<void()> notify)
      : notify_(std::move(notify)), open_(kChunkBytes) {}

  // Reader. Waits until `bytes` more fit (an empty mailbox takes any amount); false once stopped.
  bool WaitForRoom(size_t bytes);

  // Reader. Room for one record of `bytes` (a multiple of 4), not cleared, which it fills before it
  // calls again. `at` is when the record came.
  uint8_t* Add(size_t bytes, int64_t at);

  // Reader. Hands over what was added, and wakes JavaScript if that is anything.
  void Announce();

  // Any thread. What was handed over and has not been taken.
  struct Waiting {
    size_t bytes;
    size_t records;
  };
  Waiting Waits();

  // Reader. Leaves an error after the last record, and announces it; the reader then ends.
  void Fail(const OsError& error);

  // JavaScript. Whether something waits, and since when: the failure comes after everything else.
  bool Oldest(int64_t* since);

  struct Taken {
    bool failed;
    OsError error;
  };

  // JavaScript. Takes the oldest chunk; its count is 0 if there was none. The failure is told once.
  Taken Take(Chunk* into);

  // Any thread. Releases a reader that waits for room; the mailbox takes and says nothing more.
  void Stop();

 private:
  bool HandOver();

  const std::function<void()> notify_;
  // The reader's own until they are handed over.
  std::vector<uint8_t> open_;
  size_t used_ = 0;
  uint32_t count_ = 0;
  int64_t since_ = 0;

  std::mutex mutex_;
  std::condition_variable room_;
  std::deque<Chunk> chunks_;
  Waiting waiting_{0, 0};  // what chunks_ hold
  bool stopped_ = false;
  bool failed_ = false;
  OsError error_;
};

}  // namespace whichpod
