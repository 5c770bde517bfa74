// The lexer: tokens of a template, the text outside tags, the tags' ends, and the words of Jinja's
// expressions.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "tokenizer/jinja/template_error.h"

namespace dunlin::jinja {

struct Token {
  enum class Kind {
    data,
    variable_begin,
    variable_end,
    block_begin,
    block_end,
    name,
    string,
    integer,
    floating,
    symbol,
    end
  };
  Kind kind = Kind::end;
  Position at;       // of its first character
  std::string text;  // data and string: the value; name, symbol: as written; numbers: digits
                     // without underscores

  // Whether it is this name or symbol.
  bool is(std::string_view word) const {
    return (kind == Kind::name || kind == Kind::symbol) && text == word;
  }
};

// Splits a template as Jinja2 does with trim_blocks and lstrip_blocks, \n as the only line end, and
// without a final \n. Throws LocatedError.
std::vector<Token> tokenize_template(const std::string& source);

}  // namespace dunlin::jinja
