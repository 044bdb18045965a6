// The addon's face: what JavaScript sees. Only this and channel.h know Node-API; arguments have been
// checked by src/native/binding.ts, so a wrong one here is a plain TypeError.

#include <fcntl.h>
#include <napi.h>
#include <net/if.h>
#include <sys/socket.h>

#include <algorithm>
#include <cerrno>
#include <memory>
#include <vector>

#include "channel.h"
#include "legacy-tables.h"
#include "netlink.h"
#include "ring.h"

namespace whichpod {
namespace {

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
  void Open(const Napi::CallbackInfo& info, const Options& options) {
    OsError error;
    channel_ = Channel<Source>::Open(info.Env(), info[1].As<Napi::Function>(), options, &error);
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

  // Of the open source; or a pending EBADF.
  Napi::Value Waiting(const Napi::CallbackInfo& info) {
    if (Opened(info.Env(), "waiting") == nullptr) return {};
    return Napi::Number::New(info.Env(), static_cast<double>(channel_->waiting()));
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
                        InstanceMethod<&RingFace::Waits>("waiting"),
                        InstanceMethod<&RingFace::Close>("close")});
  }

  explicit RingFace(const Napi::CallbackInfo& info) : Wrapped(info) {
    if (!CheckOpening(info)) return;
    const Napi::Object given = info[0].As<Napi::Object>();
    if (!IsFilter(given.Get("filter"))) {
      Wrong(info.Env(), "filter must be a Uint32Array");
      return;
    }
    Open(info,
         RingOptions{NumberOf(given, "blockBytes"), NumberOf(given, "blocks"),
                     NumberOf(given, "blockTimeoutMs"),
                     FilterOf(given.Get("filter").As<Napi::Uint32Array>())});
  }

 private:
  void Close(const Napi::CallbackInfo&) { Shut(); }
  Napi::Value Waits(const Napi::CallbackInfo& info) { return Waiting(info); }

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
                        InstanceMethod<&NetlinkFace::Request>("request"),
                        InstanceMethod<&NetlinkFace::ReceiveBufferBytes>("receiveBufferBytes"),
                        InstanceMethod<&NetlinkFace::Waits>("waiting"),
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
    Open(info, options);
  }

 private:
  void Close(const Napi::CallbackInfo&) { Shut(); }
  Napi::Value Waits(const Napi::CallbackInfo& info) { return Waiting(info); }

  // The socket, or nullptr and a pending error, with its first argument checked to be bytes.
  NetlinkSocket* Sending(const Napi::CallbackInfo& info, const char* call) {
    NetlinkSocket* const socket = Opened(info.Env(), call);
    if (socket == nullptr) return nullptr;
    if (info[0].IsTypedArray() &&
        info[0].As<Napi::TypedArray>().TypedArrayType() == napi_uint8_array) {
      return socket;
    }
    Wrong(info.Env(), "bytes must be a Uint8Array");
    return nullptr;
  }

  void Send(const Napi::CallbackInfo& info) {
    NetlinkSocket* const socket = Sending(info, "send");
    OsError error;
    if (socket == nullptr) return;
    const auto bytes = info[0].As<Napi::Uint8Array>();
    if (!socket->Send(bytes.Data(), bytes.ByteLength(), &error)) {
      MakeError(info.Env(), error).ThrowAsJavaScriptException();
    }
  }

  void Request(const Napi::CallbackInfo& info) {
    NetlinkSocket* const socket = Sending(info, "request");
    if (socket == nullptr) return;
    const auto bytes = info[0].As<Napi::Uint8Array>();
    socket->Request(bytes.Data(), bytes.ByteLength());
  }

  Napi::Value ReceiveBufferBytes(const Napi::CallbackInfo& info) {
    NetlinkSocket* const socket = Opened(info.Env(), "receiveBufferBytes");
    if (socket == nullptr) return {};
    return Napi::Number::New(info.Env(), socket->receive_buffer_bytes());
  }
};

// What the kernel keeps for the reader of a pipe or socket is made as large as it allows, up to the number of
// bytes given. What it keeps then; 0 for anything else.
Napi::Value Widen(const Napi::CallbackInfo& info) {
  if (!info[0].IsNumber() || !info[1].IsNumber()) {
    Wrong(info.Env(), "expected a file descriptor and a number of bytes");
    return {};
  }
  const int fd = info[0].As<Napi::Number>().Int32Value();
  const int most = info[1].As<Napi::Number>().Int32Value();
  int keeps = fcntl(fd, F_GETPIPE_SZ);
  if (keeps > 0) {
    // EPERM beyond fs.pipe-max-size, or when this user's pipes hold as much as they may.
    for (int bytes = most; bytes > keeps; bytes /= 2) {
      if (fcntl(fd, F_SETPIPE_SZ, bytes) > 0) break;
    }
    return Napi::Number::New(info.Env(), fcntl(fd, F_GETPIPE_SZ));
  }
  socklen_t size = sizeof keeps;
  if (getsockopt(fd, SOL_SOCKET, SO_SNDBUF, &keeps, &size) != 0) {
    return Napi::Number::New(info.Env(), 0);
  }
  // Beyond net.core.wmem_max with CAP_NET_ADMIN only; the kernel doubles what it is told.
  const int asked = most / 2;
  if (keeps < most && setsockopt(fd, SOL_SOCKET, SO_SNDBUFFORCE, &asked, sizeof asked) == 0) {
    getsockopt(fd, SOL_SOCKET, SO_SNDBUF, &keeps, &size);
  }
  return Napi::Number::New(info.Env(), keeps);
}

// On a thread of the pool: while rules are written or listed, the kernel makes who asks wait.
class LegacyTables : public Napi::AsyncWorker {
 public:
  LegacyTables(Napi::Env env, int family)
      : Napi::AsyncWorker(env), answer_(Napi::Promise::Deferred::New(env)), family_(family) {}

  Napi::Promise Promise() const { return answer_.Promise(); }

 protected:
  void Execute() override { asked_ = SizesOfLegacyTables(family_, &sizes_, &error_); }

  void OnOK() override {
    const Napi::HandleScope scope(Env());
    if (!asked_) {
      answer_.Reject(MakeError(Env(), error_).Value());
      return;
    }
    Napi::Array tables = Napi::Array::New(Env(), sizes_.size());
    for (uint32_t i = 0; i < sizes_.size(); i++) {
      Napi::Object table = Napi::Object::New(Env());
      table.Set("name", sizes_[i].name);
      table.Set("entries", sizes_[i].entries);
      table.Set("bytes", sizes_[i].bytes);
      tables.Set(i, table);
    }
    answer_.Resolve(tables);
  }

 private:
  const Napi::Promise::Deferred answer_;
  const int family_;
  std::vector<TableSize> sizes_;
  OsError error_{};
  bool asked_ = false;
};

Napi::Value AskLegacyTables(const Napi::CallbackInfo& info) {
  if (!info[0].IsNumber()) {
    Wrong(info.Env(), "expected an address family");
    return {};
  }
  auto* const worker = new LegacyTables(info.Env(), info[0].As<Napi::Number>().Int32Value());
  const Napi::Promise promise = worker->Promise();
  worker->Queue();  // it deletes itself
  return promise;
}

Napi::Object Init(Napi::Env env, Napi::Object exports) {
  exports.Set("PacketRing", RingFace::Define(env));
  exports.Set("NetlinkSocket", NetlinkFace::Define(env));
  exports.Set("legacyTables", Napi::Function::New<AskLegacyTables>(env, "legacyTables"));
  exports.Set("widen", Napi::Function::New<Widen>(env, "widen"));
  return exports;
}

}  // namespace

NODE_API_MODULE(whichpod, Init)

}  // namespace whichpod
