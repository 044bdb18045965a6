#pragma once

// A system call that failed: what JavaScript gets as `errno`, `code` and `syscall`.

namespace whichpod {

struct OsError {
  int number = 0;            // errno
  const char* call = "";     // "socket(AF_PACKET)", "bind" ...
};

}  // namespace whichpod
