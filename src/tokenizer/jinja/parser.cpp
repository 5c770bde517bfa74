// The parser's entrance, its tokens and its errors.
#include "tokenizer/jinja/parser.h"

#include <fmt/format.h>

#include <string>

namespace dunlin::jinja {

Block Parser::parse(const std::string& source) {
  Parser parser(tokenize_template(source));
  try {
    Block block = parser.parse_block({});
    if (!parser.at(Token::Kind::end)) parser.fail_unexpected("the end of the template");
    return block;
  } catch (const LocatedError&) {
    throw;
  } catch (const TemplateError& error) {  // of Level
    parser.fail(error.what());
  }
}

Token Parser::take() {
  Token token = tokens_[position_];
  if (token.kind != Token::Kind::end) ++position_;
  return token;
}

bool Parser::skip(std::string_view word) {
  const bool found = at(word);
  if (found) ++position_;
  return found;
}

void Parser::expect(std::string_view word) {
  if (!skip(word)) fail_unexpected(fmt::format("'{}'", word));
}

void Parser::expect(Token::Kind kind, std::string_view what) {
  if (!at(kind)) fail_unexpected(what);
  take();
}

std::string Parser::expect_name() {
  if (!at(Token::Kind::name)) fail_unexpected("a name");
  return take().text;
}

void Parser::fail_unexpected(std::string_view expected) const {
  if (at(Token::Kind::end)) fail(fmt::format("the template ends where {} is expected", expected));
  if (at(Token::Kind::variable_end) || at(Token::Kind::block_end))
    fail(fmt::format("the tag ends where {} is expected", expected));
  fail(fmt::format("unexpected '{:.40}', expected {}", current().text, expected));
}

}  // namespace dunlin::jinja
