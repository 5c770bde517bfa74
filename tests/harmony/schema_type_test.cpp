// Schemas of tools as types, against openai-harmony.
#include "tokenizer/harmony/schema_type.h"

#include <gtest/gtest.h>

#include <utility>

#include "harmony_data.h"

namespace dunlin::harmony {
namespace {

using Json = nlohmann::ordered_json;

TEST(SchemaType, EqualsTheReference) {
  const Json cases = load_golden("schemas.json");
  ASSERT_GE(cases.size(), 120u);
  for (const Json& each : cases) {
    const auto type = schema_type(each["schema"]);
    ASSERT_TRUE(type.ok()) << type.error().message;
    EXPECT_EQ(*type, each["type"].get<std::string>()) << each["schema"];
  }
}

Json nested(int levels) {
  Json schema = {{"type", "string"}};
  for (int i = 1; i < levels; ++i) {
    Json outer = {{"type", "array"}};
    outer["items"] = std::move(schema);
    schema = std::move(outer);
  }
  return schema;
}

TEST(SchemaType, NestingIsBounded) {
  EXPECT_TRUE(schema_type(nested(kMostSchemaLevels)).ok());
  const auto type = schema_type(nested(kMostSchemaLevels + 1));
  ASSERT_FALSE(type.ok());
  EXPECT_EQ(type.error().kind, ErrorKind::usage);
  EXPECT_NE(type.error().message.find("64 levels"), std::string::npos) << type.error().message;
  Json value = 1;
  for (int i = 0; i < 100; ++i) {
    Json outer = Json::array();
    outer.push_back(std::move(value));
    value = std::move(outer);
  }
  Json variant = Json::object();
  variant["default"] = value;
  Json schema = Json::object();
  schema["oneOf"] = Json::array({variant});
  EXPECT_FALSE(schema_type(schema).ok());
}

TEST(SchemaType, WhatIsNoSchemaIsAnything) {
  for (const Json& each : {Json(nullptr), Json(3), Json("string"), Json::array({1}), Json(true)})
    EXPECT_EQ(schema_type(each).value(), "any") << each;
}

}  // namespace
}  // namespace dunlin::harmony
