// Structs of older and newer headers than the library's.
#include "c_api/sized_struct.h"

#include <gtest/gtest.h>

#include <array>
#include <cstdint>
#include <cstring>

namespace dunlin {
namespace {

struct Old {
  size_t struct_size;
  int64_t first;
};
struct Now {
  size_t struct_size;
  int64_t first;
  int64_t second;
};
struct New {
  size_t struct_size;
  int64_t first;
  int64_t second;
  int64_t third;
};

// The caller's struct, in memory that is larger than any size it claims and is believed.
template <typename T>
const Now* given(const T& fields) {
  alignas(T) static std::array<unsigned char, 8192> memory;
  std::memcpy(memory.data(), &fields, sizeof fields);
  return reinterpret_cast<const Now*>(memory.data());
}

TEST(ReadStruct, AnOlderOneLeavesTheDefaults) {
  const Old old = {sizeof(Old), 5};
  Now now = {sizeof(Now), 1, 2};
  ASSERT_TRUE(read_struct(given(old), now));
  EXPECT_EQ(now.struct_size, sizeof(Now));
  EXPECT_EQ(now.first, 5);
  EXPECT_EQ(now.second, 2);
}

TEST(ReadStruct, ANewerOneIsTakenWhenWhatIsUnknownIsZero) {
  New newer = {sizeof(New), 5, 6, 0};
  Now now = {sizeof(Now), 1, 2};
  ASSERT_TRUE(read_struct(given(newer), now));
  EXPECT_EQ(now.struct_size, sizeof(Now));
  EXPECT_EQ(now.second, 6);
  newer.third = 1;
  now = {sizeof(Now), 1, 2};
  EXPECT_FALSE(read_struct(given(newer), now));
  EXPECT_EQ(now.first, 1);
}

TEST(ReadStruct, ASizeThatWasNotSetIsRefused) {
  Now now = {sizeof(Now), 1, 2};
  for (const size_t size : {size_t{0}, size_t{7}, size_t{5000}, SIZE_MAX}) {
    const Old old = {size, 5};
    EXPECT_FALSE(read_struct(given(old), now)) << size;
  }
  EXPECT_EQ(now.first, 1);
}

TEST(WriteStruct, FillsWhatTheCallerKnows) {
  const Now now = {sizeof(Now), 5, 6};
  Now old = {sizeof(Old), 1, 2};
  ASSERT_TRUE(write_struct(now, &old));
  EXPECT_EQ(old.struct_size, sizeof(Old));
  EXPECT_EQ(old.first, 5);
  EXPECT_EQ(old.second, 2);  // behind the caller's struct
  New newer = {sizeof(New), 1, 2, 3};
  ASSERT_TRUE(write_struct(now, reinterpret_cast<Now*>(&newer)));
  EXPECT_EQ(newer.struct_size, sizeof(New));
  EXPECT_EQ(newer.second, 6);
  EXPECT_EQ(newer.third, 0);
  newer.struct_size = 0;
  EXPECT_FALSE(write_struct(now, reinterpret_cast<Now*>(&newer)));
}

}  // namespace
}  // namespace dunlin
