// What is asked of the system about the pages of mapped weights. All of it is advice: the bytes are the
// same whether it is followed or not.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>

namespace dunlin::cpu {

struct MemoryRange {
  const std::byte* begin = nullptr;
  int64_t bytes = 0;

  friend bool operator==(const MemoryRange&, const MemoryRange&) = default;
};

// The pages that hold some byte of the range.
MemoryRange covering_pages(const MemoryRange& range);
// The pages that hold no byte of another range; no bytes: there is none.
MemoryRange pages_within(const MemoryRange& range);

// In order of address, and as one where the next begins within a cache line of the end of the last: parts
// of weights are padded to one.
std::vector<MemoryRange> joined(std::vector<MemoryRange> ranges);

class Pager {
 public:
  virtual ~Pager() = default;
  // From any thread, at the same time.

  // Begins to read the pages of the range that are not in memory, and does not wait for them.
  virtual void read_ahead(const MemoryRange& range) noexcept = 0;
  // Waits until they are in memory. True: they are locked there until release(). False: the system
  // refuses to lock them, and may take them back when it is short of memory.
  virtual bool hold(const MemoryRange& range) noexcept = 0;
  virtual void release(const MemoryRange& range) noexcept = 0;
  // Gives the pages back, so that the next use reads them again.
  virtual void drop(const MemoryRange& range) noexcept = 0;
};

std::unique_ptr<Pager> make_system_pager();

}  // namespace dunlin::cpu
