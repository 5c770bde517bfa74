#include "cli/argv.h"

#include <gtest/gtest.h>

namespace dunlin {
namespace {

using Words = std::vector<std::string>;

TEST(LongFlagOf, IsTheInverseOfShortFlagOf) {
  EXPECT_EQ(long_flag_of("-np"), "--parallel");
  EXPECT_EQ(short_flag_of("--parallel"), "-np");
  EXPECT_EQ(long_flag_of("-n"), "");
  EXPECT_EQ(short_flag_of("--max-tokens"), "");
}

TEST(NearestName, FindsTheSmallestDistance) {
  const Words names = {"--threads", "--temp", "--top-k"};
  EXPECT_EQ(nearest_name("--thread", names), "--threads");
  EXPECT_EQ(nearest_name("--tmp", names), "--temp");
  EXPECT_EQ(nearest_name("--something-else", names), "");
  EXPECT_EQ(nearest_name("--threads", Words{}), "");
}

TEST(UnknownName, AsksOnlyWhenSomethingIsNear) {
  EXPECT_EQ(unknown_name("chatt", "command", Words{"run", "chat"}),
            "chatt is not a command; did you mean chat?");
  EXPECT_EQ(unknown_name("zzzzz", "command", Words{"run"}), "zzzzz is not a command");
  EXPECT_EQ(unknown_name("-lv", "flag", Words{"-v"}),
            "-lv is not a flag; use -v for more on stderr, or -q for less");
}

}  // namespace
}  // namespace dunlin
