// Anonymous mappings with MADV_HUGEPAGE: 2 MiB pages spare the TLB and let the hardware prefetcher,
// which stops at page ends, run on. With several NUMA nodes they are interleaved (base/memory_policy.h).
#include "backend/cpu/arena.h"

#include <fmt/format.h>
#include <sys/mman.h>

#include <cerrno>
#include <cstring>
#include <utility>

#include "base/memory_policy.h"

namespace dunlin::cpu {

namespace {

constexpr int64_t kSmallPage = 4096;

}  // namespace

Result<Arena> Arena::create(int64_t bytes, const std::string& purpose, Pages pages) {
  Arena arena;
  if (bytes == 0) return arena;
  void* mapped = mmap(nullptr, static_cast<size_t>(bytes), PROT_READ | PROT_WRITE,
                      MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (mapped == MAP_FAILED) {
    return Error{ErrorKind::does_not_fit,
                 fmt::format("{}: cannot reserve {} bytes ({:.2f} GiB): {}", purpose, bytes,
                             static_cast<double>(bytes) / (1 << 30), std::strerror(errno))};
  }
  arena.data_ = static_cast<std::byte*>(mapped);
  arena.bytes_ = bytes;
  // Advice only: without huge pages everything works on small ones.
  const int advice = pages == Pages::huge ? MADV_HUGEPAGE : MADV_NOHUGEPAGE;
  (void)madvise(mapped, static_cast<size_t>(bytes), advice);
  spread_pages(mapped, static_cast<size_t>(bytes));
  return arena;
}

Arena::~Arena() {
  if (data_ != nullptr) munmap(data_, static_cast<size_t>(bytes_));
}

Arena::Arena(Arena&& other) noexcept
    : data_(std::exchange(other.data_, nullptr)), bytes_(std::exchange(other.bytes_, 0)) {}

Arena& Arena::operator=(Arena&& other) noexcept {
  std::swap(data_, other.data_);
  std::swap(bytes_, other.bytes_);
  return *this;
}

void Arena::touch() {
  for (int64_t offset = 0; offset < bytes_; offset += kSmallPage) {
    *static_cast<volatile std::byte*>(data_ + offset) = std::byte{0};
  }
}

}  // namespace dunlin::cpu
