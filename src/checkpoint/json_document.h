// Parses the JSON files of a model, with limits.
#pragma once

#include <nlohmann/json.hpp>
#include <string>

#include "base/result.h"

namespace dunlin {

// The object that `text` is. Nesting deeper than 64, a key that occurs twice in one object, text
// after the object, and text that is not UTF-8 are errors that begin with `origin`.
Result<nlohmann::json> parse_json_object(const std::string& text, const std::string& origin);

}  // namespace dunlin
