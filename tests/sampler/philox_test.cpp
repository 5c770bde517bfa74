// Philox4x32-10 against the known answers published with the Random123 library (kat_vectors).
#include "sampler/philox.h"

#include <gtest/gtest.h>

namespace dunlin {
namespace {

TEST(Philox, KnownAnswers) {
  EXPECT_EQ(philox({0, 0}, {0, 0, 0, 0}),
            (PhiloxBlock{0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8}));
  EXPECT_EQ(philox({0xffffffff, 0xffffffff}, {0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff}),
            (PhiloxBlock{0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd}));
  EXPECT_EQ(philox({0xa4093822, 0x299f31d0}, {0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344}),
            (PhiloxBlock{0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1}));
}

TEST(Philox, UniformStaysBelowOneAndDependsOnEveryPart) {
  double sum = 0.0;
  for (uint64_t position = 0; position < 20000; ++position) {
    const float u = uniform(1, 0, position, RandomPurpose::token);
    ASSERT_GE(u, 0.0f);
    ASSERT_LT(u, 1.0f);
    sum += static_cast<double>(u);
  }
  EXPECT_NEAR(sum / 20000.0, 0.5, 0.01);  // standard error 0.002
  const float base = uniform(1, 0, 0, RandomPurpose::token);
  EXPECT_NE(base, uniform(2, 0, 0, RandomPurpose::token));
  EXPECT_NE(base, uniform(uint64_t{1} << 40, 0, 0, RandomPurpose::token));
  EXPECT_NE(base, uniform(1, 1, 0, RandomPurpose::token));
  EXPECT_NE(base, uniform(1, 0, uint64_t{1} << 33, RandomPurpose::token));
}

}  // namespace
}  // namespace dunlin
