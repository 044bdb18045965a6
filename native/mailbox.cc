#include "mailbox.h"

namespace whichpod {

bool Mailbox::WaitForRoom(size_t bytes) {
  std::unique_lock<std::mutex> lock(mutex_);
  room_.wait(lock, [&] {
    return stopped_ || chunks_.empty() || waiting_.bytes + used_ + bytes <= kMailboxLimit;
  });
  return !stopped_;
}

uint8_t* Mailbox::Add(size_t bytes, int64_t at) {
  if (used_ + bytes > open_.size() && HandOver()) notify_();
  if (bytes > open_.size()) open_.resize(bytes);
  if (count_ == 0) since_ = at;
  uint8_t* const room = open_.data() + used_;
  used_ += bytes;
  count_++;
  return room;
}

void Mailbox::Announce() {
  if (HandOver()) notify_();
}

// Copied, so that a chunk that waits is no larger than what it holds.
bool Mailbox::HandOver() {
  if (count_ == 0) return false;
  std::lock_guard<std::mutex> lock(mutex_);
  if (!stopped_) {
    const bool together = !chunks_.empty() &&
                          chunks_.back().bytes.size() + used_ <= kChunkBytes &&
                          since_ - chunks_.back().since <= kChunkSpanNs;
    if (!together) {
      chunks_.emplace_back();
      chunks_.back().since = since_;
    }
    Chunk& chunk = chunks_.back();
    chunk.bytes.insert(chunk.bytes.end(), open_.data(), open_.data() + used_);
    chunk.count += count_;
    waiting_.bytes += used_;
    waiting_.records += count_;
  }
  used_ = 0;
  count_ = 0;
  return !stopped_;
}

Mailbox::Waiting Mailbox::Waits() {
  std::lock_guard<std::mutex> lock(mutex_);
  return waiting_;
}

void Mailbox::Fail(const OsError& error) {
  HandOver();
  {
    std::lock_guard<std::mutex> lock(mutex_);
    failed_ = true;
    error_ = error;
  }
  notify_();
}

bool Mailbox::Oldest(int64_t* since) {
  std::lock_guard<std::mutex> lock(mutex_);
  if (chunks_.empty()) {
    *since = INT64_MAX;
    return failed_;
  }
  *since = chunks_.front().since;
  return true;
}

Mailbox::Taken Mailbox::Take(Chunk* into) {
  *into = {};
  std::lock_guard<std::mutex> lock(mutex_);
  if (!chunks_.empty()) {
    *into = std::move(chunks_.front());
    chunks_.pop_front();
    waiting_.bytes -= into->bytes.size();
    waiting_.records -= into->count;
    room_.notify_one();
  }
  if (!chunks_.empty() || !failed_) return {false, {}};
  failed_ = false;
  return {true, error_};
}

void Mailbox::Stop() {
  std::lock_guard<std::mutex> lock(mutex_);
  stopped_ = true;
  room_.notify_all();
}

}  // namespace whichpod
