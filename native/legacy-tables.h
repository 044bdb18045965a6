#pragma once

// Tables of legacy iptables: how large they are, which costs the kernel nothing to say. It tells nobody
// when they change.

#include <cstdint>
#include <string>
#include <vector>

#include "os-error.h"

namespace whichpod {

struct TableSize {
  std::string name;
  uint32_t entries = 0;
  uint32_t bytes = 0;
};

// The sizes of the tables of a family (4 or 6) in this thread's network namespace that are there: a table that
// is asked for and is not would be made by the kernel, so only those are asked for that it lists. False and
// `error` where it may not be asked (EPERM without CAP_NET_ADMIN, EACCES where only root may see the list).
bool SizesOfLegacyTables(int family, std::vector<TableSize>* sizes, OsError* error);

}  // namespace whichpod
