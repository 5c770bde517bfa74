// The parser's literals, names, lists, dicts and tuples.
#include <charconv>

#include "tokenizer/jinja/parser_state.h"

namespace dunlin::jinja {

using Kind = Expression::Kind;

ExpressionPointer Parser::parse_primary() {
  switch (current().kind) {
    case Token::Kind::name:
      return parse_name();
    case Token::Kind::string:
      return parse_string();
    case Token::Kind::integer:
    case Token::Kind::floating:
      return parse_number();
    default:
      break;
  }
  if (is_symbol("[")) return parse_list();
  if (is_symbol("{")) return parse_dict();
  if (!skip_symbol("(")) fail_unexpected("an expression");
  ExpressionPointer expression = parse_tuple(true, true);
  expect_symbol(")");
  return expression;
}

ExpressionPointer Parser::parse_name() {
  const Token token = take();
  auto expression = make(Kind::constant, token.line);
  if (token.text == "true" || token.text == "True") {
    expression->constant = Value(true);
  } else if (token.text == "false" || token.text == "False") {
    expression->constant = Value(false);
  } else if (token.text != "none" && token.text != "None") {
    expression->kind = Kind::name;
    expression->name = token.text;
    for (Macro* macro : macros_) {
      macro->uses_caller |= token.text == "caller";
      macro->uses_varargs |= token.text == "varargs";
      macro->uses_kwargs |= token.text == "kwargs";
    }
  }
  return expression;
}

ExpressionPointer Parser::parse_number() {
  const Token token = take();
  auto expression = make(Kind::constant, token.line);
  const char* begin = token.text.data();
  const char* end = begin + token.text.size();
  std::from_chars_result parsed{};
  if (token.kind == Token::Kind::integer) {
    int64_t value = 0;
    parsed = std::from_chars(begin, end, value);
    expression->constant = Value(value);
  } else {
    double value = 0;
    parsed = std::from_chars(begin, end, value);
    expression->constant = Value(value);
  }
  if (parsed.ec != std::errc()) throw LocatedError(token.line, "a number is out of range");
  return expression;
}

ExpressionPointer Parser::parse_string() {
  auto expression = make(Kind::constant, current().line);
  std::string text;
  while (current().kind == Token::Kind::string) text += take().text;
  expression->constant = Value(Text(std::move(text), true));
  return expression;
}

ExpressionPointer Parser::parse_list() {
  auto expression = make(Kind::list, take().line);
  while (!is_symbol("]")) {
    if (!expression->operands.empty()) expect_symbol(",");
    if (is_symbol("]")) break;
    expression->operands.push_back(parse_expression());
  }
  expect_symbol("]");
  return finish(std::move(expression));
}

ExpressionPointer Parser::parse_dict() {
  auto expression = make(Kind::dict, take().line);
  while (!is_symbol("}")) {
    if (!expression->operands.empty()) expect_symbol(",");
    if (is_symbol("}")) break;
    expression->operands.push_back(parse_expression());
    expect_symbol(":");
    expression->operands.push_back(parse_expression());
  }
  expect_symbol("}");
  return finish(std::move(expression));
}

bool Parser::at_tuple_end(std::string_view end_name) const {
  const Token::Kind kind = current().kind;
  return kind == Token::Kind::variable_end || kind == Token::Kind::block_end || is_symbol(")") ||
         (!end_name.empty() && is_name(end_name));
}

ExpressionPointer Parser::parse_tuple(bool with_conditional, bool in_parentheses,
                                      std::string_view end_name) {
  auto tuple = make(Kind::tuple, current().line);
  bool has_comma = false;
  while (!at_tuple_end(end_name)) {
    tuple->operands.push_back(parse_expression(with_conditional));
    if (!skip_symbol(",")) break;
    has_comma = true;
  }
  if (!has_comma && tuple->operands.size() == 1) return std::move(tuple->operands[0]);
  if (!has_comma && !in_parentheses) fail_unexpected("an expression");
  return finish(std::move(tuple));
}

}  // namespace dunlin::jinja
