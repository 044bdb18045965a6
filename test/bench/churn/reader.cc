// Reader for the live benchmarks: notes when each piece of a program's output came, at so little cost that it
// is not what is measured. A reader in JavaScript was most of the latency that it showed.
//
//   reader FIFO
//
// Reads to the end, then writes all of it to stdout: for each piece the moment in ns since 1970 and the
// length, as 64 bits each in the machine's byte order, and the bytes.

#include <fcntl.h>
#include <time.h>
#include <unistd.h>

#include <cerrno>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <vector>

namespace {

constexpr size_t kChunkBytes = 8u << 20;
// A read is given at least this much room.
constexpr size_t kLeastRoom = 64u << 10;
constexpr uint64_t kSecondNs = 1'000'000'000;

struct Piece {
  uint64_t at;
  uint64_t length;
  const uint8_t* bytes;
};

[[noreturn]] void Fail(const char* what) {
  fprintf(stderr, "reader: %s: %s\n", what, strerror(errno));
  exit(1);
}

uint64_t Now() {
  timespec now{};
  clock_gettime(CLOCK_REALTIME, &now);
  return static_cast<uint64_t>(now.tv_sec) * kSecondNs + static_cast<uint64_t>(now.tv_nsec);
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 2) {
    fputs("usage: reader FIFO\n", stderr);
    return 2;
  }
  const int fd = open(argv[1], O_RDONLY);
  if (fd < 0) Fail(argv[1]);
  std::vector<std::unique_ptr<uint8_t[]>> chunks;
  std::vector<Piece> pieces;
  size_t used = kChunkBytes;
  for (;;) {
    if (kChunkBytes - used < kLeastRoom) {
      chunks.emplace_back(new uint8_t[kChunkBytes]);
      used = 0;
    }
    uint8_t* const to = chunks.back().get() + used;
    const ssize_t got = read(fd, to, kChunkBytes - used);
    const uint64_t at = Now();
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) Fail("read");
    if (got == 0) break;
    pieces.push_back({at, static_cast<uint64_t>(got), to});
    used += static_cast<size_t>(got);
  }
  for (const Piece& piece : pieces) {
    const uint64_t head[2] = {piece.at, piece.length};
    if (fwrite(head, sizeof head, 1, stdout) != 1) Fail("write");
    if (fwrite(piece.bytes, 1, piece.length, stdout) != piece.length) Fail("write");
  }
  return fflush(stdout) == 0 ? 0 : 1;
}
