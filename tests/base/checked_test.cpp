// Checked arithmetic at the edges of its types.
#include "base/checked.h"

#include <gtest/gtest.h>

#include <cstdint>

namespace dunlin {
namespace {

TEST(Checked, AddAtTheEdges) {
  EXPECT_EQ(checked_add<uint64_t>(UINT64_MAX, 0), UINT64_MAX);
  EXPECT_EQ(checked_add<uint64_t>(UINT64_MAX, 1), std::nullopt);
  EXPECT_EQ(checked_add<int64_t>(INT64_MAX, -1), INT64_MAX - 1);
  EXPECT_EQ(checked_add<int64_t>(INT64_MAX, 1), std::nullopt);
  EXPECT_EQ(checked_add<int64_t>(INT64_MIN, -1), std::nullopt);
  EXPECT_EQ(checked_add<uint8_t>(200, 55), uint8_t{255});
  EXPECT_EQ(checked_add<uint8_t>(200, 56), std::nullopt);
}

TEST(Checked, MultiplyAtTheEdges) {
  EXPECT_EQ(checked_mul<uint64_t>(UINT64_MAX, 1), UINT64_MAX);
  EXPECT_EQ(checked_mul<uint64_t>(UINT64_C(1) << 32, UINT64_C(1) << 32), std::nullopt);
  EXPECT_EQ(checked_mul<uint64_t>(UINT64_MAX, 0), 0u);
  EXPECT_EQ(checked_mul<int64_t>(INT64_MIN, -1), std::nullopt);
  EXPECT_EQ(checked_mul<int64_t>(INT64_C(0x7fffffffffffffc0), 2), std::nullopt);
}

TEST(Checked, CastKeepsTheValueOrFails) {
  EXPECT_EQ((checked_cast<int64_t>(uint64_t{INT64_MAX})), INT64_MAX);
  EXPECT_EQ((checked_cast<int64_t>(uint64_t{INT64_MAX} + 1)), std::nullopt);
  EXPECT_EQ((checked_cast<uint32_t>(int64_t{-1})), std::nullopt);
  EXPECT_EQ((checked_cast<int8_t>(128)), std::nullopt);
  EXPECT_EQ((checked_cast<int8_t>(-128)), int8_t{-128});
}

}  // namespace
}  // namespace dunlin
