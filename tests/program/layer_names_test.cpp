#include "program/layer_names.h"

#include <gtest/gtest.h>

namespace dunlin {
namespace {

TEST(LayerNames, NumbersBetweenDotsBecomeStars) {
  EXPECT_EQ(without_numbers("layers.3.mlp.gate"), "layers.*.mlp.gate");
  EXPECT_EQ(without_numbers("layers.31"), "layers.*");
  EXPECT_EQ(without_numbers("7"), "*");
  EXPECT_EQ(without_numbers("norm1.x2.3b"), "norm1.x2.3b");
  EXPECT_EQ(without_numbers("a..b."), "a..b.");
  EXPECT_EQ(without_numbers(""), "");
}

}  // namespace
}  // namespace dunlin
