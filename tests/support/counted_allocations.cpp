#include "support/counted_allocations.h"

#include <cstdlib>
#include <new>

namespace dunlin {

std::atomic<int64_t> allocations{0};
std::atomic<std::size_t> largest_block{0};

}  // namespace dunlin

namespace {

void* counted(std::size_t size) {
  dunlin::allocations.fetch_add(1, std::memory_order_relaxed);
  std::size_t largest = dunlin::largest_block.load();
  while (size > largest && !dunlin::largest_block.compare_exchange_weak(largest, size)) {
  }
  void* memory = std::malloc(size == 0 ? 1 : size);
  if (memory == nullptr) throw std::bad_alloc();
  return memory;
}

}  // namespace

void* operator new(std::size_t size) {
  return counted(size);
}
void* operator new[](std::size_t size) {
  return counted(size);
}
void operator delete(void* memory) noexcept {
  std::free(memory);
}
void operator delete[](void* memory) noexcept {
  std::free(memory);
}
void operator delete(void* memory, std::size_t) noexcept {
  std::free(memory);
}
void operator delete[](void* memory, std::size_t) noexcept {
  std::free(memory);
}
