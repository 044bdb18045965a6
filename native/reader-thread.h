#pragma once

// A thread that waits in poll() and can be told to end at any moment.

#include <pthread.h>
#include <signal.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <cstdint>
#include <cstdlib>
#include <functional>

#include "os-error.h"

namespace whichpod {

class ReaderThread {
 public:
  ReaderThread() = default;
  ReaderThread(const ReaderThread&) = delete;
  ReaderThread& operator=(const ReaderThread&) = delete;
  ~ReaderThread() {
    Stop();
    if (wake_ >= 0) close(wake_);
  }

  // Starts `run`, once, on a thread of its own with all signals blocked: they are the main thread's.
  // (pthreads rather than std::thread, whose failure is an exception: none are compiled in.)
  bool Start(const char* name, std::function<void()> run, OsError* error) {
    wake_ = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (wake_ < 0) {
      *error = {errno, "eventfd"};
      return false;
    }
    run_ = std::move(run);
    sigset_t all;
    sigset_t before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    const int failure = pthread_create(&thread_, nullptr, Enter, this);
    pthread_sigmask(SIG_SETMASK, &before, nullptr);
    if (failure != 0) {
      *error = {failure, "pthread_create"};
      return false;
    }
    started_ = true;
    pthread_setname_np(thread_, name);
    return true;
  }

  // Readable once Stop or Wake was called; for the thread's own poll().
  int wake_fd() const { return wake_; }

  // Any thread: ends the thread's poll().
  void Wake() {
    const uint64_t one = 1;
    // Cannot fail: the counter of an eventfd is far from its limit.
    if (write(wake_, &one, sizeof one) < 0) abort();
  }

  // The thread: what Wake said was heard. Stop is not forgotten by it.
  void Heard() {
    uint64_t count;
    // Nothing to read is nothing to forget (EAGAIN).
    if (read(wake_, &count, sizeof count) < 0) return;
  }

  bool stopping() const { return stopping_.load(std::memory_order_relaxed); }

  // Ends and joins the thread. Calling it again does nothing.
  void Stop() {
    if (!started_) return;
    started_ = false;
    stopping_.store(true, std::memory_order_relaxed);
    Wake();
    pthread_join(thread_, nullptr);
  }

 private:
  static void* Enter(void* self) {
    static_cast<ReaderThread*>(self)->run_();
    return nullptr;
  }

  int wake_ = -1;
  bool started_ = false;
  std::atomic<bool> stopping_{false};
  std::function<void()> run_;
  pthread_t thread_{};
};

}  // namespace whichpod
