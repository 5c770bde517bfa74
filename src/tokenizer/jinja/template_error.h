// TemplateError: how parsing and rendering stop inside this folder; ChatTemplate turns it into a
// Result's error.
#pragma once

#include <stdexcept>
#include <string>

namespace dunlin::jinja {

// A place in a template's source. Lines and columns count from 1, columns in bytes.
struct Position {
  int line = 1;
  int column = 1;
};

// The message names neither template nor position: who catches it knows them and adds them.
struct TemplateError : std::runtime_error {
  using std::runtime_error::runtime_error;
};

// A syntax error with the place it was found at.
struct LocatedError : TemplateError {
  LocatedError(Position where, const std::string& what) : TemplateError(what), at(where) {}
  Position at;
};

}  // namespace dunlin::jinja
