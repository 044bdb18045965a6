#include "legacy-tables.h"

#include <fcntl.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

namespace whichpod {
namespace {

// include/uapi/linux/netfilter_ipv4/ip_tables.h and netfilter_ipv6/ip6_tables.h, which are not C++.
constexpr int kGetInfo = 64;  // IPT_SO_GET_INFO, IP6T_SO_GET_INFO
constexpr size_t kNameBytes = 32;
constexpr unsigned kHooks = 5;
struct GetInfo {
  char name[kNameBytes];
  uint32_t valid_hooks;
  uint32_t hook_entry[kHooks];
  uint32_t underflow[kHooks];
  uint32_t entries;
  uint32_t bytes;
};

// A few names of at most 32 bytes.
constexpr size_t kListBytes = 4096;

// The names of the tables that there are, one a line; empty if legacy iptables was never used.
bool ReadNames(const char* path, std::string* names, OsError* error) {
  const int fd = open(path, O_RDONLY | O_CLOEXEC);
  if (fd < 0) {
    if (errno == ENOENT) return true;
    *error = {errno, "open"};
    return false;
  }
  names->resize(kListBytes);
  const ssize_t length = read(fd, names->data(), names->size());
  const int number = errno;
  close(fd);
  if (length < 0) {
    *error = {number, "read"};
    return false;
  }
  names->resize(static_cast<size_t>(length));
  return true;
}

}  // namespace

bool SizesOfLegacyTables(int family, std::vector<TableSize>* sizes, OsError* error) {
  const bool six = family == 6;
  std::string names;
  const char* const list =
      six ? "/proc/thread-self/net/ip6_tables_names" : "/proc/thread-self/net/ip_tables_names";
  if (!ReadNames(list, &names, error)) return false;
  if (names.empty()) return true;
  const int fd = socket(six ? AF_INET6 : AF_INET, SOCK_RAW | SOCK_CLOEXEC, IPPROTO_RAW);
  if (fd < 0) {
    *error = {errno, "socket"};
    return false;
  }
  bool asked = true;
  for (size_t at = 0, end; asked && at < names.size(); at = end + 1) {
    end = names.find('\n', at);
    if (end == std::string::npos) end = names.size();
    if (end == at || end - at >= kNameBytes) continue;
    GetInfo info{};
    memcpy(info.name, names.data() + at, end - at);
    socklen_t length = sizeof info;
    if (getsockopt(fd, six ? IPPROTO_IPV6 : IPPROTO_IP, kGetInfo, &info, &length) == 0) {
      sizes->push_back({names.substr(at, end - at), info.entries, info.bytes});
    } else if (errno != ENOENT) {  // gone since it was listed
      *error = {errno, "getsockopt"};
      asked = false;
    }
  }
  close(fd);
  return asked;
}

}  // namespace whichpod
