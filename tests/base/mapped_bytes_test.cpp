// MappedBytes: pages that the system has back at once.
#include "base/mapped_bytes.h"

#include <gtest/gtest.h>
#include <sys/mman.h>

#include <algorithm>
#include <cerrno>
#include <cstdint>
#include <utility>

namespace dunlin {
namespace {

constexpr size_t kBytes = 1 << 20;

// Whether the page at `address` is mapped (mincore(2): ENOMEM where it is not).
bool is_mapped(std::byte* address) {
  unsigned char resident = 0;
  return ::mincore(address, 1, &resident) == 0 || errno != ENOMEM;
}

TEST(MappedBytes, AreAVectorOfZerosOnPagesOfTheirOwn) {
  MappedBytes bytes(kBytes);
  EXPECT_EQ(reinterpret_cast<uintptr_t>(bytes.data()) % 4096, 0u);
  EXPECT_EQ(std::ranges::count(bytes, std::byte{0}), static_cast<int64_t>(kBytes));
  bytes[7] = std::byte{1};
  bytes.resize(3 * kBytes);
  EXPECT_EQ(bytes[7], std::byte{1});
  const MappedBytes moved = std::move(bytes);
  EXPECT_EQ(moved.size(), 3 * kBytes);
  EXPECT_EQ(moved[7], std::byte{1});
}

TEST(MappedBytes, LeaveNothingWithTheAllocator) {
  std::byte* address = nullptr;
  bool mapped = false;
  {
    const MappedBytes bytes(kBytes);
    address = const_cast<std::byte*>(bytes.data());
    mapped = is_mapped(address);
  }
  EXPECT_TRUE(mapped);
  EXPECT_FALSE(is_mapped(address));
}

TEST(MappedBytes, MoreThanThereIsIsBadAlloc) {
  EXPECT_THROW(MappedBytes(size_t{1} << 62), std::bad_alloc);
}

}  // namespace
}  // namespace dunlin
