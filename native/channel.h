#pragma once

// The way from the reader threads to JavaScript. Part of the face: this and face.cc know Node-API.

#include <napi.h>

#include <atomic>
#include <cerrno>
#include <cstring>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "mailbox.h"
#include "os-error.h"

namespace whichpod {

// Names of the errors that the calls used here document; any other is shown by its number.
inline const char* ErrorName(int number) {
  switch (number) {
    case EACCES: return "EACCES";
    case EADDRINUSE: return "EADDRINUSE";
    case EAFNOSUPPORT: return "EAFNOSUPPORT";
    case EAGAIN: return "EAGAIN";
    case EBADF: return "EBADF";
    case EBUSY: return "EBUSY";
    case ECONNREFUSED: return "ECONNREFUSED";
    case EINVAL: return "EINVAL";
    case EMFILE: return "EMFILE";
    case EMSGSIZE: return "EMSGSIZE";
    case ENETDOWN: return "ENETDOWN";
    case ENFILE: return "ENFILE";
    case ENOBUFS: return "ENOBUFS";
    case ENODEV: return "ENODEV";
    case ENOENT: return "ENOENT";
    case ENOMEM: return "ENOMEM";
    case ENOPROTOOPT: return "ENOPROTOOPT";
    case ENXIO: return "ENXIO";
    case EPERM: return "EPERM";
    case EPROTONOSUPPORT: return "EPROTONOSUPPORT";
    default: return nullptr;
  }
}

inline Napi::Error MakeError(Napi::Env env, const OsError& error) {
  const char* const name = ErrorName(error.number);
  Napi::Error made =
      Napi::Error::New(env, std::string(error.call) + ": " + strerror(error.number));
  made.Set("code", name != nullptr ? std::string(name) : "E" + std::to_string(error.number));
  made.Set("errno", Napi::Number::New(env, error.number));
  made.Set("syscall", Napi::String::New(env, error.call));
  return made;
}

// Something that batches are delivered from, on the environment's thread.
class Receiver {
 public:
  virtual ~Receiver() = default;
  // Whether something waits, and since when (CLOCK_REALTIME, ns).
  virtual bool Oldest(int64_t* since) = 0;
  // Calls JavaScript with the oldest chunk; its bytes.
  virtual size_t Deliver(Napi::Env env) = 0;
};

// Wakes JavaScript, once for all open sources of an environment, and calls it back with what they have,
// the oldest first: where JavaScript is behind, packets and conntrack's events must not part. It exists
// while a source is open, and keeps the process alive.
class Dispatcher : public std::enable_shared_from_this<Dispatcher> {
 public:
  // The environment's.
  static std::shared_ptr<Dispatcher> Of(Napi::Env env) {
    auto* known = env.GetInstanceData<std::weak_ptr<Dispatcher>>();
    if (known == nullptr) {
      known = new std::weak_ptr<Dispatcher>();
      env.SetInstanceData(known);
    }
    std::shared_ptr<Dispatcher> dispatcher = known->lock();
    if (dispatcher == nullptr) {
      dispatcher = std::make_shared<Dispatcher>();
      dispatcher->Open(env);
      *known = dispatcher;
    }
    return dispatcher;
  }

  ~Dispatcher() { napi_release_threadsafe_function(function_, napi_tsfn_abort); }

  void Add(Receiver* receiver) { receivers_.push_back(receiver); }
  void Remove(Receiver* receiver) {
    for (size_t i = 0; i < receivers_.size(); i++) {
      if (receivers_[i] == receiver) {
        receivers_.erase(receivers_.begin() + static_cast<std::ptrdiff_t>(i));
        return;
      }
    }
  }

  // Any thread, as long as a source is open.
  void Wake() {
    if (!woken_.exchange(true)) {
      napi_call_threadsafe_function(function_, nullptr, napi_tsfn_nonblocking);
    }
  }

 private:
  using Self = std::weak_ptr<Dispatcher>;

  // Bytes after which JavaScript's other work gets its turn: some milliseconds.
  static constexpr size_t kTurnBytes = 192u << 10;

  void Open(Napi::Env env) {
    auto* const self = new Self(shared_from_this());
    const napi_status status = napi_create_threadsafe_function(
        env, nullptr, nullptr, Napi::String::New(env, "whichpod"), 0, 1, self,
        [](napi_env, void* data, void*) { delete static_cast<Self*>(data); }, self,
        [](napi_env called, napi_value, void* context, void*) {
          // Without an environment the function is being torn down: nobody is left to tell.
          if (called == nullptr) return;
          const std::shared_ptr<Dispatcher> dispatcher = static_cast<Self*>(context)->lock();
          if (dispatcher != nullptr) dispatcher->Woken(called);
        },
        &function_);
    if (status != napi_ok) Napi::Error::Fatal("Dispatcher", "no thread-safe function");
  }

  void Woken(Napi::Env env) {
    // Before looking: what comes from now on wakes again.
    woken_.store(false);
    if (!continues_) Dispatch(env);
  }

  void Dispatch(Napi::Env env) {
    const std::shared_ptr<Dispatcher> self = shared_from_this();
    size_t done = 0;
    // A callback may open and close sources, so they are looked at anew each time.
    while (Receiver* const oldest = Oldest()) {
      if (done >= kTurnBytes) {
        Continue(env);
        return;
      }
      Napi::HandleScope scope(env);
      done += oldest->Deliver(env);
    }
  }

  Receiver* Oldest() {
    Receiver* oldest = nullptr;
    int64_t least = INT64_MAX;
    for (Receiver* const receiver : receivers_) {
      int64_t since;
      if (!receiver->Oldest(&since) || (oldest != nullptr && since >= least)) continue;
      oldest = receiver;
      least = since;
    }
    return oldest;
  }

  // After the event loop has looked round. (A thread-safe function that is called now would be served
  // before that: node_api.cc empties its queue in one go.)
  void Continue(Napi::Env env) {
    Napi::HandleScope scope(env);
    const Napi::Value immediate = env.Global().Get("setImmediate");
    if (!immediate.IsFunction()) return;
    const Self self = shared_from_this();
    continues_ = true;
    immediate.As<Napi::Function>().Call(
        {Napi::Function::New(env, [self](const Napi::CallbackInfo& info) {
          const std::shared_ptr<Dispatcher> dispatcher = self.lock();
          if (dispatcher == nullptr) return;
          dispatcher->continues_ = false;
          dispatcher->Dispatch(info.Env());
        })});
  }

  napi_threadsafe_function function_ = nullptr;
  std::vector<Receiver*> receivers_;
  std::atomic<bool> woken_{false};
  bool continues_ = false;
};

// One open source in one environment: the mailbox, the thread that fills it, and the callback that gets
// what is in it. The wrapped object and a delivery that is under way may both let go of it last, hence
// shared. Only the reader's waking is not on the environment's thread.
template <typename Source>
class Channel : public Receiver, public std::enable_shared_from_this<Channel<Source>> {
 public:
  template <typename Options>
  static std::shared_ptr<Channel> Open(Napi::Env env, Napi::Function callback,
                                       const Options& options, OsError* error) {
    auto channel = std::make_shared<Channel>(env);
    Channel* const self = channel.get();
    channel->dispatcher_ = Dispatcher::Of(env);
    channel->callback_ = Napi::Persistent(callback);
    channel->mailbox_ =
        std::make_unique<Mailbox>([dispatcher = self->dispatcher_.get()] { dispatcher->Wake(); });
    channel->source_ = Source::Open(options, channel->mailbox_.get(), error);
    if (channel->source_ == nullptr) return nullptr;
    channel->dispatcher_->Add(self);
    // After the dispatcher's function, so before it at the end: hooks run in reverse.
    napi_add_env_cleanup_hook(env, AtExit, self);
    return channel;
  }

  explicit Channel(Napi::Env env) : env_(env) {}

  Source* source() const { return source_.get(); }

  // Records that JavaScript has not been given yet.
  size_t waiting() const { return mailbox_->Waits().records; }

  // Joins the thread, frees the source; the callback is not called again. A second call does nothing.
  void Close() {
    if (source_ == nullptr) return;
    napi_remove_env_cleanup_hook(env_, AtExit, this);
    End();
  }

  bool Oldest(int64_t* since) override { return mailbox_->Oldest(since); }

  size_t Deliver(Napi::Env env) override {
    // The callback may close.
    const std::shared_ptr<Channel> self = this->shared_from_this();
    const Mailbox::Taken taken = mailbox_->Take(&chunk_);
    Napi::Value failure = env.Undefined();
    if (taken.failed) failure = MakeError(env, taken.error).Value();
    const size_t length = chunk_.bytes.size();
    Napi::ArrayBuffer buffer = Room(env, length);
    if (length > 0) memcpy(buffer.Data(), chunk_.bytes.data(), length);
    callback_.Call({buffer, Napi::Number::New(env, chunk_.count), failure});
    // Left pending, Node would swallow it with a deprecation warning (DEP0168).
    if (env.IsExceptionPending()) {
      napi_fatal_exception(env, env.GetAndClearPendingException().Value());
    }
    return length;
  }

 private:
  // The buffer that JavaScript gets, the same as long as it is large enough and still ours.
  Napi::ArrayBuffer Room(Napi::Env env, size_t length) {
    if (!room_.IsEmpty() && room_.Value().ByteLength() >= length) return room_.Value();
    const Napi::ArrayBuffer made =
        Napi::ArrayBuffer::New(env, length > kChunkBytes ? length : kChunkBytes);
    room_ = Napi::Persistent(made);
    return made;
  }

  void End() {
    source_.reset();
    dispatcher_->Remove(this);
    dispatcher_.reset();
    callback_.Reset();
    room_.Reset();
  }

  static void AtExit(void* self) { static_cast<Channel*>(self)->End(); }

  const napi_env env_;
  std::shared_ptr<Dispatcher> dispatcher_;
  Napi::FunctionReference callback_;
  Napi::Reference<Napi::ArrayBuffer> room_;
  std::unique_ptr<Mailbox> mailbox_;
  std::unique_ptr<Source> source_;
  Chunk chunk_;
};

}  // namespace whichpod
