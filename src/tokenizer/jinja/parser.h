// The parser: from a template's source to its syntax tree.
#pragma once

#include <string>

#include "tokenizer/jinja/ast.h"

namespace dunlin::jinja {

// Throws LocatedError for a syntax error, a tag that is not supported, or nesting beyond
// kMaxNesting.
Block parse_template(const std::string& source);

}  // namespace dunlin::jinja
