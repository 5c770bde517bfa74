// StopMatcher: stop strings across the borders of pieces, and nothing withheld for good.
#include "engine/stop_matcher.h"

#include <gtest/gtest.h>

namespace dunlin {
namespace {

// Feeds `text` in pieces of `size` bytes; returns what came out, with '|' appended when it stopped.
std::string stream(const std::vector<std::string>& stops, std::string_view text, size_t size) {
  StopMatcher matcher(stops);
  std::string out;
  for (size_t i = 0; i < text.size(); i += size) {
    const auto output = matcher.feed(text.substr(i, size));
    out += output.text;
    if (output.stopped) out += '|';
  }
  return out + matcher.flush();
}

TEST(StopMatcher, FindsAStopStringWhereverThePiecesBreak) {
  for (size_t size = 1; size <= 12; ++size) {
    EXPECT_EQ(stream({"END"}, "one two END three", size), "one two |");
    EXPECT_EQ(stream({"\n\n", "User:"}, "hi\nUser: x\n\n", size), "hi\n|");
  }
}

TEST(StopMatcher, AFalseStartIsGivenOut) {
  for (size_t size = 1; size <= 8; ++size) {
    EXPECT_EQ(stream({"ENDE"}, "an END of EN", size), "an END of EN");
    EXPECT_EQ(stream({"aab"}, "aaaab", size), "aa|");
  }
}

TEST(StopMatcher, TheEarliestStopWins) {
  EXPECT_EQ(stream({"zz", "b"}, "a b zz", 6), "a |");
}

TEST(StopMatcher, EmptyStopStringsAreIgnored) {
  EXPECT_EQ(stream({""}, "text", 2), "text");
}

TEST(StopMatcher, TextIsNotHeldLongerThanNeeded) {
  StopMatcher matcher({"END"});
  EXPECT_EQ(matcher.feed("abcE").text, "abc");
  EXPECT_EQ(matcher.feed("x").text, "Ex");
}

}  // namespace
}  // namespace dunlin
