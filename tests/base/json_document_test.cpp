// JSON objects within limits: the tree that the library builds, and texts that cost too much.
#include "base/json_document.h"

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "support/expect_model_error.h"

namespace dunlin {
namespace {

using nlohmann::json;
using nlohmann::ordered_json;

void expect_error(const std::string& text, const std::string& problem) {
  expect_model_error([&] { return parse_json_object(text, "a.json"); }, "a.json", problem);
}

std::string nested(int levels) {
  return "{\"a\":" + std::string(static_cast<size_t>(levels - 1), '[') +
         std::string(static_cast<size_t>(levels - 1), ']') + "}";
}

TEST(JsonDocument, IsTheTreeOfTheText) {
  for (const char* text :
       {"{}", R"({"b": 1, "a": [true, null, -2, 1.5, "x", {}, [], [[3]], {"c": {"d": []}}]})",
        R"( {"max": 18446744073709551615, "low": -9223372036854775808, "e": 1e308, "": ""} )",
        R"({"text": "\u00e9\ud83d\ude00\n\"", "twice": [{"a": 1}, {"a": 2}]})"}) {
    const auto document = parse_json_object(text, "a.json");
    ASSERT_TRUE(document.ok()) << document.error().message;
    EXPECT_EQ(*document, json::parse(text));
    const auto ordered = parse_ordered_json_object(text, "a.json");
    ASSERT_TRUE(ordered.ok()) << ordered.error().message;
    EXPECT_EQ(ordered->dump(), ordered_json::parse(text).dump());
  }
}

TEST(JsonDocument, SyntaxErrorsNameTheirPlace) {
  expect_error("", "not valid JSON at line 1, column 1");
  expect_error("{\"a\": }", "not valid JSON at line 1, column 7");
  expect_error("{\n  \"a\": 1,\n  \"b\" 2\n}\n", "not valid JSON at line 3, column 7");
  expect_error("{\"a\": \"\xff\"}", "not valid JSON at line 1, column 8");
  expect_error("{\"a\": 1e400}", "not valid JSON");
  expect_error("{} x", "not valid JSON at line 1, column 4");
}

TEST(JsonDocument, OtherValuesThanObjects) {
  for (const char* text : {"[]", "1", "null", "\"a\"", "true"}) {
    expect_error(text, "not a JSON object");
    const auto value = parse_json_value(text, "a.json");
    ASSERT_TRUE(value.ok()) << value.error().message;
    EXPECT_EQ(*value, json::parse(text));
  }
  expect_model_error([] { return parse_json_value("[1,", "a.json"); }, "a.json", "not valid JSON");
}

TEST(JsonDocument, Depth) {
  EXPECT_TRUE(parse_json_object(nested(kMostJsonDepth), "a.json").ok());
  expect_error(nested(kMostJsonDepth + 1), "nested deeper than 64 levels");
  expect_error("{\"a\":" + std::string(1'000'000, '['), "nested deeper than 64 levels");
}

TEST(JsonDocument, EqualKeys) {
  expect_error(R"({"a": 1, "b": 2, "a": 3})", "the key \"a\" occurs twice");
  expect_error(R"({"x": [{"a": {}, "a": {}}]})", "the key \"a\" occurs twice");
  const auto ordered = parse_ordered_json_object(R"({"a": 1, "a": 2})", "line 1");
  EXPECT_EQ(ordered.error().message, "line 1: the key \"a\" occurs twice");
}

// Both would take hours if a key or the end of an object cost a look at all siblings.
TEST(JsonDocument, ManyKeysOfOneObject) {
  std::string text = "{";
  for (int i = 0; i < 300'000; ++i) text += fmt::format("\"{}\":{{}},", i);
  const auto document = parse_json_object(text + "\"last\":0}", "a.json");
  ASSERT_TRUE(document.ok()) << document.error().message;
  EXPECT_EQ(document->size(), 300'001u);
}

TEST(JsonDocument, ManyValues) {
  std::string text = "{\"a\":[0";
  for (size_t i = 3; i < kMostJsonValues; ++i) text += ",0";
  EXPECT_TRUE(parse_json_object(text + "]}", "a.json").ok());
  expect_error(text + ",0]}", "more than 1000000 values");
}

TEST(JsonDocument, ManyOrderedKeys) {
  std::string text = "{\"\":0";
  for (size_t i = 1; i < kMostOrderedKeys; ++i) text += fmt::format(",\"{}\":0", i);
  EXPECT_TRUE(parse_ordered_json_object(text + "}", "line 1").ok());
  const auto more = parse_ordered_json_object(text + ",\"more\":0}", "line 1");
  EXPECT_EQ(more.error().message, "line 1: an object with more than 512 keys");
}

}  // namespace
}  // namespace dunlin
