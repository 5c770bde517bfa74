// Values as text: Python's str() and repr(), json.dumps() and the % operator of strings.
#pragma once

#include <optional>
#include <string>

#include "tokenizer/jinja/value.h"

namespace dunlin::jinja {

std::string format_float(double value);  // Python's repr(float)

// str(value); a string keeps its origins, everything else is untrusted.
Text to_text(const Value& value, Budget& budget);
// repr(value), untrusted.
std::string to_repr(const Value& value, Budget& budget);

struct JsonOptions {
  bool ensure_ascii = false;
  bool sort_keys = false;
  std::optional<std::string> indent;  // of one level; absent: one line
  std::string item_separator = ", ";
  std::string key_separator = ": ";
};

// json.dumps(value), untrusted. Throws TemplateError for what JSON cannot hold.
std::string to_json(const Value& value, const JsonOptions& options, Budget& budget);

// format % values, for the conversions %s %r %d %i %f %x %%; literal text keeps its origin.
Text percent_format(const Text& format, const Value& values, Budget& budget);

}  // namespace dunlin::jinja
