// TemplateError: how parsing and rendering stop inside this folder; ChatTemplate turns it into a
// Result's error.
#pragma once

#include <stdexcept>
#include <string>

namespace dunlin::jinja {

// The message names neither template nor line: the parser and the interpreter know the line and add
// it.
struct TemplateError : std::runtime_error {
  using std::runtime_error::runtime_error;
};

// A syntax error with the line it was found in.
struct LocatedError : TemplateError {
  LocatedError(int error_line, const std::string& what) : TemplateError(what), line(error_line) {}
  int line;
};

}  // namespace dunlin::jinja
