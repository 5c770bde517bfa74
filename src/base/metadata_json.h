// Metadata as JSON, for the library's ordered and unordered objects.
#pragma once

#include <string>
#include <variant>

#include "base/metadata.h"

namespace dunlin {

// An object with a member for each key, dots included; values keep their types.
template <typename Json>
Json json_of(const Metadata& metadata) {
  Json object = Json::object();
  for (const auto& [key, value] : metadata.values())
    std::visit([&object, &key = key](const auto& each) { object[key] = each; }, value);
  return object;
}

}  // namespace dunlin
