// Members of a JSON value that may be anything.
#pragma once

#include <nlohmann/json.hpp>
#include <string>

namespace dunlin {

// The member of an object, where it is there and not null.
inline const nlohmann::json* member(const nlohmann::json& object, const char* name) {
  if (!object.is_object()) return nullptr;
  const auto it = object.find(name);
  return it == object.end() || it->is_null() ? nullptr : &*it;
}

// Empty where the member is missing or no text.
inline std::string text_member(const nlohmann::json& object, const char* name) {
  const nlohmann::json* value = member(object, name);
  return value != nullptr && value->is_string() ? value->get<std::string>() : std::string();
}

}  // namespace dunlin
