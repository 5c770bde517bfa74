#include "cli/argv.h"

#include <gtest/gtest.h>

namespace dunlin {
namespace {

using Words = std::vector<std::string>;

TEST(RewriteShortFlags, MultiLetterOnesBecomeLong) {
  EXPECT_EQ(rewrite_short_flags(Words{"run", "-np", "4", "-ub=64", "-sys", "Be brief.", "-n", "3"}),
            (Words{"run", "--parallel", "4", "--ubatch-size=64", "--system-prompt", "Be brief.",
                   "-n", "3"}));
}

TEST(RewriteShortFlags, ArgumentsAfterTwoDashesStay) {
  EXPECT_EQ(rewrite_short_flags(Words{"-np", "4", "--", "-np"}),
            (Words{"--parallel", "4", "--", "-np"}));
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
}

}  // namespace
}  // namespace dunlin
