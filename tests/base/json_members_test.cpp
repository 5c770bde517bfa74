#include "base/json_members.h"

#include <gtest/gtest.h>

namespace dunlin {
namespace {

TEST(JsonMembers, AreThereUnlessTheyAreNull) {
  const auto object = nlohmann::json::parse(R"({"a": 1, "none": null, "false": false})");
  ASSERT_NE(member(object, "a"), nullptr);
  EXPECT_EQ(*member(object, "a"), 1);
  EXPECT_NE(member(object, "false"), nullptr);
  EXPECT_EQ(member(object, "none"), nullptr);
  EXPECT_EQ(member(object, "b"), nullptr);
}

TEST(JsonMembers, OfTextAreEmptyUnlessTheyAreText) {
  const auto object = nlohmann::json::parse(R"({"text": "x", "number": 1, "none": null})");
  EXPECT_EQ(text_member(object, "text"), "x");
  EXPECT_EQ(text_member(object, "number"), "");
  EXPECT_EQ(text_member(object, "none"), "");
  EXPECT_EQ(text_member(object, "missing"), "");
}

TEST(JsonMembers, OfWhatIsNoObjectAreMissing) {
  for (const char* text : {"null", "[\"a\"]", "\"a\"", "1"}) {
    const auto value = nlohmann::json::parse(text);
    EXPECT_EQ(member(value, "a"), nullptr) << text;
    EXPECT_EQ(text_member(value, "a"), "") << text;
  }
}

}  // namespace
}  // namespace dunlin
