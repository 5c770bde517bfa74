// Reading the fields of a tokenizer.json that is already a document.
#pragma once

#include <fmt/format.h>

#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "base/json_members.h"
#include "base/result.h"

namespace dunlin {

inline bool is_true(const nlohmann::json& object, const char* name) {
  const nlohmann::json* value = member(object, name);
  return value != nullptr && value->is_boolean() && value->get<bool>();
}

inline Result<bool> boolean_or(const nlohmann::json& object, const char* name, bool fallback) {
  const nlohmann::json* value = member(object, name);
  if (value == nullptr) return fallback;
  if (!value->is_boolean()) return model_error(fmt::format("{} is not true or false", name));
  return value->get<bool>();
}

// Short form of a value for messages.
inline std::string excerpt(const nlohmann::json& value) {
  constexpr size_t kLength = 200;
  std::string text = value.dump(-1, ' ', true);  // ASCII only, so that it can be cut anywhere
  if (text.size() > kLength) text = text.substr(0, kLength) + "...";
  return text;
}

// The elements of {"type": "Sequence", `list`: [...]}, or the one value itself.
inline std::vector<const nlohmann::json*> sequence(const nlohmann::json* value, const char* list) {
  if (value == nullptr) return {};
  if (text_member(*value, "type") != "Sequence") return {value};
  std::vector<const nlohmann::json*> elements;
  if (const nlohmann::json* array = member(*value, list); array != nullptr && array->is_array()) {
    for (const nlohmann::json& element : *array) elements.push_back(&element);
  }
  return elements;
}

}  // namespace dunlin
