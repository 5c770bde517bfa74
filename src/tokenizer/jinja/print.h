// Values as text: Python's str() and repr(), and json.dumps().
#pragma once

#include <optional>
#include <string>

#include "tokenizer/jinja/value.h"

namespace dunlin::jinja {

// str(value); a string keeps its origins, everything else is untrusted.
Text to_text(const Value& value, Runtime& runtime);

// repr(value)
std::string to_repr(const Value& value, Runtime& runtime);

struct JsonOptions {
  bool ensure_ascii = false;
  bool sort_keys = false;
  std::optional<std::string> indent;  // of one level; absent: one line
  std::string item_separator = ", ";
  std::string key_separator = ": ";
};

// json.dumps(value). Throws TemplateError for what JSON cannot hold.
std::string to_json(const Value& value, const JsonOptions& options, Runtime& runtime);

}  // namespace dunlin::jinja
