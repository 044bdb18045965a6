// The addon's face: what JavaScript sees. The only file that knows Node-API; arguments have been
// checked by src/native/binding.ts, so a wrong one here is a plain TypeError.

#include <napi.h>
#include <net/if.h>

#include <cerrno>
#include <cstring>
#include <memory>
#include <string>

#include "mailbox.h"
#include "netlink.h"
#include "ring.h"

namespace whichpod {
namespace {

// Names of the errors that the calls used here document; any other is shown by its number.
const char* ErrorName(int number) {
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

Napi::Error MakeError(Napi::Env env, const OsError& error) {
  const char* const name = ErrorName(error.number);
  Napi::Error made =
      Napi::Error::New(env, std::string(error.call) + ": " + strerror(error.number));
  made.Set("code", name != nullptr ? std::string(name) : "E" + std::to_string(error.number));
  made.Set("errno", Napi::Number::New(env, error.number));
  made.Set("syscall", Napi::String::New(env, error.call));
  return made;
}

// One open source in one environment: the mailbox, the thread that fills it, and the way to
// JavaScript. Three may let go of it last, in any order: the wrapped object, the thread-safe function
// (whose finalizer runs later) and the environment's cleanup; hence shared. All calls but Announce's
// are on the environment's thread.
template <typename Source>
class Channel {
 public:
  template <typename Options>
  static std::shared_ptr<Channel> Open(Napi::Env env, const char* name, Napi::Function callback,
                                       const Options& options, OsError* error) {
    auto channel = std::make_shared<Channel>(env);
    auto* const held = new std::shared_ptr<Channel>(channel);
    channel->function_ = Function::New(
        env, callback, name, 0, 1, held,
        [](Napi::Env, void*, std::shared_ptr<Channel>* context) { delete context; },
        static_cast<void*>(nullptr));
    Channel* const self = channel.get();
    channel->mailbox_ = std::make_unique<Mailbox>([self] { self->function_.NonBlockingCall(); });
    channel->source_ = Source::Open(options, channel->mailbox_.get(), error);
    if (channel->source_ == nullptr) {
      channel->function_.Abort();
      return nullptr;
    }
    // After the function's own hook, so before it at the end: hooks run in reverse.
    napi_add_env_cleanup_hook(env, AtExit, self);
    return channel;
  }

  explicit Channel(Napi::Env env) : env_(env) {}

  Source* source() const { return source_.get(); }

  // Joins the thread, frees the source; the callback is not called again. A second call does nothing.
  void Close() {
    if (source_ == nullptr) return;
    napi_remove_env_cleanup_hook(env_, AtExit, this);
    End();
  }

 private:
  static void CallJs(Napi::Env env, Napi::Function callback, std::shared_ptr<Channel>* context,
                     void*) {
    // Without an environment the function is being torn down: nobody is left to tell.
    if (env == nullptr || callback == nullptr) return;
    const std::shared_ptr<Channel> channel = *context;
    if (channel->source_ != nullptr) channel->Deliver(env, callback);
  }

  using Function = Napi::TypedThreadSafeFunction<std::shared_ptr<Channel>, void, CallJs>;

  void Deliver(Napi::Env env, Napi::Function callback) {
    const Mailbox::Taken taken = mailbox_->Take(&taken_);
    Napi::ArrayBuffer buffer = Napi::ArrayBuffer::New(env, taken_.size());
    if (!taken_.empty()) memcpy(buffer.Data(), taken_.data(), taken_.size());
    Napi::Value failure = env.Undefined();
    if (taken.failed) failure = MakeError(env, taken.error).Value();
    callback.Call({buffer, Napi::Number::New(env, taken.count), failure});
    // Left pending, Node would swallow it with a deprecation warning (DEP0168).
    if (env.IsExceptionPending()) {
      napi_fatal_exception(env, env.GetAndClearPendingException().Value());
    }
  }

  void End() {
    source_.reset();
    function_.Abort();
  }

  static void AtExit(void* self) { static_cast<Channel*>(self)->End(); }

  const napi_env env_;
  Function function_;
  std::unique_ptr<Mailbox> mailbox_;
  std::unique_ptr<Source> source_;
  std::vector<uint8_t> taken_;
};

uint32_t NumberOf(const Napi::Object& options, const char* name) {
  return options.Get(name).As<Napi::Number>().Uint32Value();
}

// Two words an instruction: code | jt << 16 | jf << 24, and k. Independent of byte order.
std::vector<sock_filter> FilterOf(const Napi::Uint32Array& words) {
  std::vector<sock_filter> filter(words.ElementLength() / 2);
  for (size_t i = 0; i < filter.size(); i++) {
    const uint32_t head = words[2 * i];
    filter[i] = {static_cast<uint16_t>(head), static_cast<uint8_t>(head >> 16),
                 static_cast<uint8_t>(head >> 24), words[2 * i + 1]};
  }
  return filter;
}

bool Wrong(Napi::Env env, const char* message) {
  Napi::TypeError::New(env, message).ThrowAsJavaScriptException();
  return false;
}

// `new X(options, callback)` for both classes.
bool CheckOpening(const Napi::CallbackInfo& info) {
  if (info.Length() == 2 && info[0].IsObject() && info[1].IsFunction()) return true;
  return Wrong(info.Env(), "expected options and a callback");
}

bool IsFilter(const Napi::Value& value) {
  return value.IsTypedArray() &&
         value.As<Napi::TypedArray>().TypedArrayType() == napi_uint32_array;
}

// An open object holds itself until it is closed, so that forgetting it neither closes nor leaks it
// half: it goes on calling back.
template <typename Self, typename Source>
class Wrapped : public Napi::ObjectWrap<Self> {
 public:
  explicit Wrapped(const Napi::CallbackInfo& info) : Napi::ObjectWrap<Self>(info) {}
  // Runs for an object that never opened or was closed, and at the end of the environment.
  ~Wrapped() override {
    if (channel_ != nullptr) channel_->Close();
  }

 protected:
  template <typename Options>
  void Open(const Napi::CallbackInfo& info, const char* name, const Options& options) {
    OsError error;
    channel_ = Channel<Source>::Open(info.Env(), name, info[1].As<Napi::Function>(), options, &error);
    if (channel_ == nullptr) {
      MakeError(info.Env(), error).ThrowAsJavaScriptException();
      return;
    }
    this->Ref();
  }

  // The source, or nullptr and a pending EBADF once closed.
  Source* Opened(Napi::Env env, const char* call) {
    if (channel_ != nullptr && channel_->source() != nullptr) return channel_->source();
    MakeError(env, {EBADF, call}).ThrowAsJavaScriptException();
    return nullptr;
  }

  void Shut() {
    if (channel_ == nullptr || channel_->source() == nullptr) return;
    channel_->Close();
    this->Unref();
  }

 private:
  std::shared_ptr<Channel<Source>> channel_;
};

class RingFace : public Wrapped<RingFace, PacketRing> {
 public:
  static Napi::Function Define(Napi::Env env) {
    return DefineClass(env, "PacketRing",
                       {InstanceMethod<&RingFace::Stats>("stats"),
                        InstanceMethod<&RingFace::SetFilter>("setFilter"),
                        InstanceMethod<&RingFace::InterfaceName>("interfaceName"),
                        InstanceMethod<&RingFace::Close>("close")});
  }

  explicit RingFace(const Napi::CallbackInfo& info) : Wrapped(info) {
    if (!CheckOpening(info)) return;
    const Napi::Object given = info[0].As<Napi::Object>();
    if (!IsFilter(given.Get("filter"))) {
      Wrong(info.Env(), "filter must be a Uint32Array");
      return;
    }
    Open(info, "whichpod.PacketRing",
         RingOptions{NumberOf(given, "blockBytes"), NumberOf(given, "blocks"),
                     NumberOf(given, "blockTimeoutMs"),
                     FilterOf(given.Get("filter").As<Napi::Uint32Array>())});
  }

 private:
  void Close(const Napi::CallbackInfo&) { Shut(); }

  Napi::Value Stats(const Napi::CallbackInfo& info) {
    PacketRing* const ring = Opened(info.Env(), "stats");
    RingStats stats;
    OsError error;
    if (ring == nullptr) return {};
    if (!ring->Stats(&stats, &error)) {
      MakeError(info.Env(), error).ThrowAsJavaScriptException();
      return {};
    }
    Napi::Object result = Napi::Object::New(info.Env());
    result.Set("packets", static_cast<double>(stats.packets));
    result.Set("drops", static_cast<double>(stats.drops));
    result.Set("freezes", static_cast<double>(stats.freezes));
    return result;
  }

  void SetFilter(const Napi::CallbackInfo& info) {
    PacketRing* const ring = Opened(info.Env(), "setFilter");
    OsError error;
    if (ring == nullptr) return;
    if (!IsFilter(info[0])) {
      Wrong(info.Env(), "filter must be a Uint32Array");
    } else if (!ring->SetFilter(FilterOf(info[0].As<Napi::Uint32Array>()), &error)) {
      MakeError(info.Env(), error).ThrowAsJavaScriptException();
    }
  }

  Napi::Value InterfaceName(const Napi::CallbackInfo& info) {
    PacketRing* const ring = Opened(info.Env(), "interfaceName");
    char name[IFNAMSIZ];
    OsError error;
    if (ring == nullptr) return {};
    if (!info[0].IsNumber()) {
      Wrong(info.Env(), "index must be a number");
      return {};
    }
    if (!ring->InterfaceName(info[0].As<Napi::Number>().Uint32Value(), name, &error)) {
      // Gone already: that is an answer, not an error.
      return info.Env().Undefined();
    }
    return Napi::String::New(info.Env(), name);
  }
};

class NetlinkFace : public Wrapped<NetlinkFace, NetlinkSocket> {
 public:
  static Napi::Function Define(Napi::Env env) {
    return DefineClass(env, "NetlinkSocket",
                       {InstanceMethod<&NetlinkFace::Send>("send"),
                        InstanceMethod<&NetlinkFace::ReceiveBufferBytes>("receiveBufferBytes"),
                        InstanceMethod<&NetlinkFace::Close>("close")});
  }

  explicit NetlinkFace(const Napi::CallbackInfo& info) : Wrapped(info) {
    if (!CheckOpening(info)) return;
    const Napi::Object given = info[0].As<Napi::Object>();
    if (!given.Get("groups").IsArray()) {
      Wrong(info.Env(), "groups must be an array");
      return;
    }
    NetlinkOptions options{static_cast<int>(NumberOf(given, "protocol")), {},
                           NumberOf(given, "receiveBufferBytes")};
    const Napi::Array groups = given.Get("groups").As<Napi::Array>();
    for (uint32_t i = 0; i < groups.Length(); i++) {
      options.groups.push_back(groups.Get(i).As<Napi::Number>().Uint32Value());
    }
    Open(info, "whichpod.NetlinkSocket", options);
  }

 private:
  void Close(const Napi::CallbackInfo&) { Shut(); }

  void Send(const Napi::CallbackInfo& info) {
    NetlinkSocket* const socket = Opened(info.Env(), "send");
    OsError error;
    if (socket == nullptr) return;
    if (!info[0].IsTypedArray() ||
        info[0].As<Napi::TypedArray>().TypedArrayType() != napi_uint8_array) {
      Wrong(info.Env(), "bytes must be a Uint8Array");
      return;
    }
    const auto bytes = info[0].As<Napi::Uint8Array>();
    if (!socket->Send(bytes.Data(), bytes.ByteLength(), &error)) {
      MakeError(info.Env(), error).ThrowAsJavaScriptException();
    }
  }

  Napi::Value ReceiveBufferBytes(const Napi::CallbackInfo& info) {
    NetlinkSocket* const socket = Opened(info.Env(), "receiveBufferBytes");
    if (socket == nullptr) return {};
    return Napi::Number::New(info.Env(), socket->receive_buffer_bytes());
  }
};

Napi::Object Init(Napi::Env env, Napi::Object exports) {
  exports.Set("PacketRing", RingFace::Define(env));
  exports.Set("NetlinkSocket", NetlinkFace::Define(env));
  return exports;
}

}  // namespace

NODE_API_MODULE(whichpod, Init)

}  // namespace whichpod
