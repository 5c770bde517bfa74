// Parses the JSON files of a model and the JSON lines of a request, with limits: what they cost is
// bounded by their length, whatever they say.
#pragma once

#include <nlohmann/json.hpp>
#include <string>

#include "base/result.h"

namespace dunlin {

// The largest known index (92,000 tensors) has a tenth of these values; a value costs at most some
// 150 bytes, so that a document costs at most 150 MB.
inline constexpr size_t kMostJsonValues = 1'000'000;
inline constexpr int kMostJsonDepth = 64;
// Of an object whose keys keep their order: it is searched from its beginning for every key.
inline constexpr size_t kMostOrderedKeys = 512;

// The object that `text` is, in time n log n. Errors begin with `origin`: text that is not JSON or
// not UTF-8, text after the object, a key that occurs twice in one object, and more values or
// levels than the limits above.
Result<nlohmann::json> parse_json_object(const std::string& text, const std::string& origin);

// The same of any value: a list, for example.
Result<nlohmann::json> parse_json_value(const std::string& text, const std::string& origin);

// The object with the keys in the order of the text, for what goes into a chat template. An object
// has at most kMostOrderedKeys keys.
Result<nlohmann::ordered_json> parse_ordered_json_object(const std::string& text,
                                                         const std::string& origin);

}  // namespace dunlin
