// The bounds of a chat template: a template and its inputs are untrusted, so every one of them is
// finite.
#pragma once

#include <cstddef>
#include <cstdint>

namespace dunlin::jinja {

inline constexpr size_t kMaxTemplateBytes = size_t{1} << 20;
inline constexpr size_t kMaxNameBytes = 1000;    // of a variable, a filter ...
inline constexpr size_t kMaxArguments = 255;     // in the source, of one call or macro
inline constexpr int kMaxNesting = 64;           // expressions, statements, built-ins in built-ins
inline constexpr int kMaxCallDepth = 32;         // macros, callers and recursive loops
inline constexpr int kMaxEvaluationDepth = 600;  // nodes under evaluation at once, over all calls
inline constexpr int64_t kMaxSteps = 1'000'000;  // nodes evaluated, items visited
inline constexpr size_t kMaxOutputBytes = size_t{8} << 20;  // of the result, and of any one string
inline constexpr size_t kMaxWorkBytes = size_t{64} << 20;   // made or scanned during one rendering
inline constexpr int kMaxValueDepth = 100;                  // lists and dicts inside each other
inline constexpr int64_t kMaxRange = 100'000;  // items of range(), the bound of Jinja2's sandbox

}  // namespace dunlin::jinja
