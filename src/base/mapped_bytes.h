// MappedBytes: a vector of bytes in pages of its own, which the system has back when it ends. The allocator
// of the C library keeps what large buffers leave: each one that is freed lets it keep twice as much
// (mallopt(3), M_MMAP_THRESHOLD and M_TRIM_THRESHOLD), in every thread that had some. Buffers of a loading
// would so count as memory of the process while its model runs.
#pragma once

#include <sys/mman.h>

#include <cstddef>
#include <cstdint>
#include <new>
#include <vector>

namespace dunlin {

template <typename T>
class MappedAllocator {
 public:
  using value_type = T;

  MappedAllocator() = default;
  template <typename U>
  MappedAllocator(const MappedAllocator<U>& /*other*/) noexcept {}

  // Page-aligned zeros. Throws std::bad_alloc.
  T* allocate(std::size_t count) {
    if (count > static_cast<std::size_t>(PTRDIFF_MAX) / sizeof(T)) throw std::bad_alloc();
    void* const mapped = ::mmap(nullptr, count * sizeof(T), PROT_READ | PROT_WRITE,
                                MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (mapped == MAP_FAILED) throw std::bad_alloc();
    return static_cast<T*>(mapped);
  }
  void deallocate(T* memory, std::size_t count) noexcept { ::munmap(memory, count * sizeof(T)); }

  friend bool operator==(const MappedAllocator& /*a*/, const MappedAllocator& /*b*/) {
    return true;
  }
};

using MappedBytes = std::vector<std::byte, MappedAllocator<std::byte>>;

}  // namespace dunlin
