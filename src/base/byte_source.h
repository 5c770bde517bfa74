// ByteSource: bytes at an offset, from a file by pread or from memory. Weights are read through it
// in bounded pieces, so that the pages of a checkpoint never count as memory of the process.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "base/result.h"

namespace dunlin {

// `count` lines of `bytes`, the first from `offset` on, each `step` bytes behind the one before: the
// same columns of rows that lie side by side, or every other row.
struct ByteLines {
  uint64_t offset = 0;
  uint64_t step = 0;
  size_t bytes = 0;
  size_t count = 0;
};

// Bytes where they lie in memory. They stay, and stay the same as long as nobody writes to the file that
// they are of, while `owner` is held.
struct HeldBytes {
  std::span<const std::byte> bytes = {};
  std::shared_ptr<const void> owner = {};
};

class ByteSource {
 public:
  virtual ~ByteSource() = default;

  // Fills all of `into` from `offset`; an error names the source when fewer bytes are there. Safe
  // from any thread.
  virtual Result<void> read_at(uint64_t offset, std::span<std::byte> into) const = 0;
  // Puts line i at `into` + i * `into_step`. Errors are those of read_at(), which reads each line here.
  // A source whose bytes are stored in another order reads many lines at a time.
  virtual Result<void> read_lines(const ByteLines& lines, std::byte* into, size_t into_step) const;
  // The lines without a copy, where one lies right after the other in what the source has of them, and the
  // first at a multiple of `alignment`, a power of two up to a page; nothing where they have to be read,
  // which the caller then does. Errors are those of read_lines().
  virtual Result<std::optional<HeldBytes>> hold_lines(const ByteLines& lines,
                                                      size_t alignment) const;
  virtual uint64_t size() const = 0;            // bytes
  virtual const std::string& name() const = 0;  // path, or a label for memory
};

// A regular file opened read-only. Directories, FIFOs and devices are refused. What is held of it is
// mapped: a file that becomes shorter then ends the process (SIGBUS) where it is read.
Result<std::shared_ptr<const ByteSource>> open_file(const std::string& path);

struct ReadCount {
  std::atomic<uint64_t> bytes = 0;
  std::atomic<uint64_t> reads = 0;
};

// What this process has read of all files that open_file() opened; what is held counts as read.
const ReadCount& file_reads();

// Bytes held in memory, for tests and tools.
std::shared_ptr<const ByteSource> memory_source(std::vector<std::byte> bytes, std::string label);

// The whole of a regular file as text; larger than `limit` bytes is an error.
Result<std::string> read_text_file(const std::string& path, uint64_t limit);

// Writes a file atomically: a temporary beside `path`, fsync, rename, fsync of the folder. A symbolic
// link is followed; anything but a regular file at `path` is an error.
Result<void> write_file_atomically(const std::string& path, std::span<const std::byte> bytes);

}  // namespace dunlin
