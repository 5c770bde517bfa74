// JSON schemas of tools as the types that Harmony shows to the model, a dialect of TypeScript.
#pragma once

#include <nlohmann/json_fwd.hpp>
#include <string>

#include "base/result.h"

namespace dunlin::harmony {

inline constexpr int kMostSchemaLevels = 64;

// The type of a schema, byte for byte what openai-harmony 0.0.8 writes:
//
//     {"type":"object","properties":{"a":{"type":"string","description":"what"},
//      "b":{"type":"integer","default":3}},"required":["a"]}
//
//     {
//     // what
//     a: string,
//     b?: number, // default: 3
//     }
//
// It knows object, array, string with enum, number, integer, boolean, lists of types, oneOf,
// nullable, default, description, title and examples; the rest is `any`. Errors (kind usage): more
// than kMostSchemaLevels levels.
Result<std::string> schema_type(const nlohmann::ordered_json& schema);

}  // namespace dunlin::harmony
