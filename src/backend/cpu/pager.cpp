#include "backend/cpu/pager.h"

#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>

#include "backend/cpu/arena.h"

namespace dunlin::cpu {

namespace {

// Linux reads no more for one MADV_WILLNEED than the read-ahead of the device (128 KiB unless it is
// changed), however long the range is; so it is asked for each such piece.
constexpr int64_t kReadAheadBytes = 128 << 10;

uintptr_t page_bytes() {
  static const auto bytes = static_cast<uintptr_t>(::sysconf(_SC_PAGESIZE));
  return bytes;
}

uintptr_t address(const std::byte* pointer) {
  return reinterpret_cast<uintptr_t>(pointer);
}

// From `begin` up to `end`, which may lie before it.
MemoryRange between(uintptr_t begin, uintptr_t end) {
  if (end <= begin) return {};
  return {reinterpret_cast<const std::byte*>(begin), static_cast<int64_t>(end - begin)};
}

class SystemPager final : public Pager {
 public:
  void read_ahead(const MemoryRange& range) noexcept override {
    const MemoryRange pages = covering_pages(range);
    for (int64_t at = 0; at < pages.bytes; at += kReadAheadBytes)
      advise({pages.begin + at, std::min(kReadAheadBytes, pages.bytes - at)}, MADV_WILLNEED);
  }

  bool hold(const MemoryRange& range) noexcept override {
    const MemoryRange pages = covering_pages(range);
    if (pages.bytes == 0) return true;
    if (may_lock_.load(std::memory_order_relaxed)) {
      if (::mlock(pages.begin, static_cast<size_t>(pages.bytes)) == 0) return true;
      // RLIMIT_MEMLOCK is 8 MiB for most users; it will not be larger the next time.
      may_lock_.store(false, std::memory_order_relaxed);
    }
    const auto page = static_cast<int64_t>(page_bytes());
    for (int64_t at = 0; at < pages.bytes; at += page) {
      const std::byte touched = *static_cast<const volatile std::byte*>(pages.begin + at);
      (void)touched;
    }
    return false;
  }

  void release(const MemoryRange& range) noexcept override {
    const MemoryRange pages = pages_within(range);
    if (pages.bytes > 0) (void)::munlock(pages.begin, static_cast<size_t>(pages.bytes));
  }

  void drop(const MemoryRange& range) noexcept override {
    const MemoryRange pages = pages_within(range);
#ifdef MADV_PAGEOUT
    // Out of the system's cache of files, which a control group's limit counts too. Only of files that
    // this user may write, and of pages that nobody else maps (madvise(2)).
    advise(pages, MADV_PAGEOUT);
#endif
    // Out of this process in any case.
    advise(pages, MADV_DONTNEED);
  }

 private:
  static void advise(const MemoryRange& pages, int advice) noexcept {
    if (pages.bytes > 0)
      (void)::madvise(const_cast<std::byte*>(pages.begin), static_cast<size_t>(pages.bytes),
                      advice);
  }

  std::atomic<bool> may_lock_ = true;
};

}  // namespace

MemoryRange covering_pages(const MemoryRange& range) {
  if (range.bytes <= 0) return {};
  const uintptr_t page = page_bytes();
  const uintptr_t end = address(range.begin) + static_cast<uintptr_t>(range.bytes);
  return between(address(range.begin) / page * page, (end + page - 1) / page * page);
}

MemoryRange pages_within(const MemoryRange& range) {
  if (range.bytes <= 0) return {};
  const uintptr_t page = page_bytes();
  const uintptr_t end = address(range.begin) + static_cast<uintptr_t>(range.bytes);
  return between((address(range.begin) + page - 1) / page * page, end / page * page);
}

std::vector<MemoryRange> joined(std::vector<MemoryRange> ranges) {
  std::ranges::sort(ranges, {}, [](const MemoryRange& range) { return address(range.begin); });
  std::vector<MemoryRange> runs;
  for (const MemoryRange& range : ranges) {
    if (!runs.empty()) {
      MemoryRange& last = runs.back();
      const uintptr_t end = address(last.begin) + static_cast<uintptr_t>(last.bytes);
      if (address(range.begin) < end + static_cast<uintptr_t>(kCacheLine)) {
        const uintptr_t range_end = address(range.begin) + static_cast<uintptr_t>(range.bytes);
        last = between(address(last.begin), std::max(end, range_end));
        continue;
      }
    }
    runs.push_back(range);
  }
  return runs;
}

std::unique_ptr<Pager> make_system_pager() {
  return std::make_unique<SystemPager>();
}

}  // namespace dunlin::cpu
