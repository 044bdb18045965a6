#include "mailbox.h"

namespace whichpod {

bool Mailbox::WaitForRoom(size_t bytes) {
  std::unique_lock<std::mutex> lock(mutex_);
  room_.wait(lock, [&] {
    return stopped_ || bytes_.empty() || bytes_.size() + bytes <= kMailboxLimit;
  });
  return !stopped_;
}

void Mailbox::Announce() {
  {
    std::lock_guard<std::mutex> lock(mutex_);
    if (stopped_ || announced_ || (count_ == 0 && !failed_)) return;
    announced_ = true;
  }
  notify_();
}

void Mailbox::Fail(const OsError& error) {
  {
    std::lock_guard<std::mutex> lock(mutex_);
    failed_ = true;
    error_ = error;
  }
  Announce();
}

Mailbox::Taken Mailbox::Take(std::vector<uint8_t>* into) {
  into->clear();
  std::lock_guard<std::mutex> lock(mutex_);
  into->swap(bytes_);
  const Taken taken{count_, failed_, error_};
  count_ = 0;
  failed_ = false;
  announced_ = false;
  room_.notify_one();
  return taken;
}

void Mailbox::Stop() {
  std::lock_guard<std::mutex> lock(mutex_);
  stopped_ = true;
  room_.notify_all();
}

}  // namespace whichpod
