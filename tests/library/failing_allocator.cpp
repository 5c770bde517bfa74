#include "failing_allocator.h"

#include <atomic>
#include <cstdlib>
#include <new>

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define DUNLIN_OWN_MALLOC 0
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define DUNLIN_OWN_MALLOC 0
#endif
#endif
#ifndef DUNLIN_OWN_MALLOC
#define DUNLIN_OWN_MALLOC 1
#endif

namespace {

std::atomic<bool> armed = false;
std::atomic<int64_t> calls = 0, fail_at = 0, live = 0;
std::atomic<bool> fail_onwards = false;

bool fails() {
  if (!armed) return false;
  const int64_t call = ++calls;
  return fail_at > 0 && (call == fail_at || (fail_onwards && call > fail_at));
}

void* counted(void* block) {
  if (block != nullptr) ++live;
  return block;
}

}  // namespace

namespace dunlin {

void arm_allocator(int64_t n, FailMode mode) {
  calls = 0;
  fail_at = n;
  fail_onwards = mode == FailMode::onwards;
  armed = true;
}

int64_t disarm_allocator() {
  armed = false;
  return calls;
}

int64_t live_blocks() {
  return live;
}

}  // namespace dunlin

#if DUNLIN_OWN_MALLOC

// glibc's own, under the names that programs which replace malloc call it by. operator new and
// everything else of the C++ library comes here too. Shared libraries only find what is visible.
#pragma GCC visibility push(default)
extern "C" {
void* __libc_malloc(size_t size);
void* __libc_calloc(size_t count, size_t size);
void* __libc_realloc(void* block, size_t size);
void* __libc_memalign(size_t alignment, size_t size);
void __libc_free(void* block);

void* malloc(size_t size) {
  return fails() ? nullptr : counted(__libc_malloc(size));
}
void* calloc(size_t count, size_t size) {
  return fails() ? nullptr : counted(__libc_calloc(count, size));
}
void* realloc(void* block, size_t size) {
  if (fails()) return nullptr;
  void* moved = __libc_realloc(block, size);
  if (block == nullptr) counted(moved);
  return moved;
}
void* aligned_alloc(size_t alignment, size_t size) {
  return fails() ? nullptr : counted(__libc_memalign(alignment, size));
}
void* memalign(size_t alignment, size_t size) {
  return aligned_alloc(alignment, size);
}
int posix_memalign(void** block, size_t alignment, size_t size) {
  void* made = aligned_alloc(alignment, size);
  if (made == nullptr) return 12;  // ENOMEM
  *block = made;
  return 0;
}
void free(void* block) {
  if (block == nullptr) return;
  --live;
  __libc_free(block);
}
}
#pragma GCC visibility pop

#else

// A sanitizer has replaced malloc: operator new alone.
namespace {

void* allocate(size_t size) {
  void* block = fails() ? nullptr : counted(std::malloc(size == 0 ? 1 : size));
  if (block == nullptr) throw std::bad_alloc();
  return block;
}
void* allocate(size_t size, std::align_val_t alignment) {
  void* block = nullptr;
  if (fails() || posix_memalign(&block, static_cast<size_t>(alignment), size) != 0)
    throw std::bad_alloc();
  return counted(block);
}
void release(void* block) {
  if (block == nullptr) return;
  --live;
  std::free(block);
}

}  // namespace

void* operator new(size_t size) {
  return allocate(size);
}
void* operator new[](size_t size) {
  return allocate(size);
}
void* operator new(size_t size, std::align_val_t alignment) {
  return allocate(size, alignment);
}
void* operator new[](size_t size, std::align_val_t alignment) {
  return allocate(size, alignment);
}
void operator delete(void* block) noexcept {
  release(block);
}
void operator delete[](void* block) noexcept {
  release(block);
}
void operator delete(void* block, size_t) noexcept {
  release(block);
}
void operator delete[](void* block, size_t) noexcept {
  release(block);
}
void operator delete(void* block, std::align_val_t) noexcept {
  release(block);
}
void operator delete[](void* block, std::align_val_t) noexcept {
  release(block);
}
void operator delete(void* block, size_t, std::align_val_t) noexcept {
  release(block);
}
void operator delete[](void* block, size_t, std::align_val_t) noexcept {
  release(block);
}

#endif
