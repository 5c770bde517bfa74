// The parser's expressions: Jinja's precedence, from `a if b else c` down to subscripts, calls,
// filters and tests.
#include <fmt/format.h>

#include <algorithm>

#include "tokenizer/jinja/builtins.h"
#include "tokenizer/jinja/limits.h"
#include "tokenizer/jinja/parser_state.h"

namespace dunlin::jinja {

using Kind = Expression::Kind;

ExpressionPointer Parser::make(Kind kind, int line) const {
  auto expression = std::make_unique<Expression>();
  expression->kind = kind;
  expression->line = line;
  return expression;
}

// Sets the depth of an expression whose parts are all there, and bounds it.
ExpressionPointer Parser::finish(ExpressionPointer expression) const {
  int deepest = 0;
  const auto include = [&](const ExpressionPointer& part) {
    if (part) deepest = std::max(deepest, part->depth);
  };
  for (const auto& operand : expression->operands) include(operand);
  if (expression->arguments) {
    for (const auto& argument : expression->arguments->positional) include(argument);
    for (const auto& [name, argument] : expression->arguments->keyword) include(argument);
    include(expression->arguments->star);
    include(expression->arguments->double_star);
  }
  expression->depth = deepest + 1;
  if (expression->depth > kMaxNesting) {
    throw LocatedError(expression->line, "an expression is nested deeper than 64 levels");
  }
  return expression;
}

ExpressionPointer Parser::parse_expression(bool with_conditional) {
  const Nested nested(*this, expression_level_);
  return with_conditional ? parse_conditional() : parse_or();
}

ExpressionPointer Parser::parse_conditional() {
  ExpressionPointer expression = parse_or();
  while (is_name("if")) {
    const Nested nested(*this, expression_level_);
    auto conditional = make(Kind::conditional, take().line);
    ++conditional_level_;
    ExpressionPointer condition = parse_or();
    ExpressionPointer otherwise = skip_name("else") ? parse_conditional() : nullptr;
    --conditional_level_;
    conditional->operands.push_back(std::move(condition));
    conditional->operands.push_back(std::move(expression));
    conditional->operands.push_back(std::move(otherwise));
    expression = finish(std::move(conditional));
  }
  return expression;
}

ExpressionPointer Parser::parse_or() {
  ExpressionPointer first = parse_and();
  if (!is_name("or")) return first;
  auto expression = make(Kind::logical_or, first->line);
  expression->operands.push_back(std::move(first));
  while (skip_name("or")) expression->operands.push_back(parse_and());
  return finish(std::move(expression));
}

ExpressionPointer Parser::parse_and() {
  ExpressionPointer first = parse_not();
  if (!is_name("and")) return first;
  auto expression = make(Kind::logical_and, first->line);
  expression->operands.push_back(std::move(first));
  while (skip_name("and")) expression->operands.push_back(parse_not());
  return finish(std::move(expression));
}

ExpressionPointer Parser::parse_not() {
  if (!is_name("not")) return parse_compare();
  const Nested nested(*this, expression_level_);
  auto expression = make(Kind::logical_not, take().line);
  expression->operands.push_back(parse_not());
  return finish(std::move(expression));
}

ExpressionPointer Parser::parse_compare() {
  static constexpr std::pair<std::string_view, Operator> kOperators[] = {
      {"==", Operator::equal},      {"!=", Operator::not_equal}, {"<", Operator::less},
      {"<=", Operator::less_equal}, {">", Operator::greater},    {">=", Operator::greater_equal}};
  auto expression = make(Kind::compare, current().line);
  expression->operands.push_back(parse_sum());
  for (;;) {
    const auto* found = std::find_if(std::begin(kOperators), std::end(kOperators),
                                     [&](const auto& entry) { return is_symbol(entry.first); });
    if (found != std::end(kOperators)) {
      take();
      expression->operators.push_back(found->second);
    } else if (skip_name("in")) {
      expression->operators.push_back(Operator::in);
    } else if (is_name("not") && next_token().kind == Token::Kind::name &&
               next_token().text == "in") {
      take();
      take();
      expression->operators.push_back(Operator::not_in);
    } else {
      break;
    }
    expression->operands.push_back(parse_sum());
  }
  if (expression->operators.empty()) return std::move(expression->operands[0]);
  return finish(std::move(expression));
}

ExpressionPointer Parser::parse_sum() {
  auto expression = make(Kind::arithmetic, current().line);
  expression->operands.push_back(parse_concat());
  while (is_symbol("+") || is_symbol("-")) {
    expression->operators.push_back(take().text == "+" ? Operator::add : Operator::subtract);
    expression->operands.push_back(parse_concat());
  }
  if (expression->operators.empty()) return std::move(expression->operands[0]);
  return finish(std::move(expression));
}

ExpressionPointer Parser::parse_concat() {
  ExpressionPointer first = parse_product();
  if (!is_symbol("~")) return first;
  auto expression = make(Kind::concat, first->line);
  expression->operands.push_back(std::move(first));
  while (skip_symbol("~")) expression->operands.push_back(parse_product());
  return finish(std::move(expression));
}

ExpressionPointer Parser::parse_product() {
  static constexpr std::pair<std::string_view, Operator> kOperators[] = {
      {"*", Operator::multiply},
      {"/", Operator::divide},
      {"//", Operator::floor_divide},
      {"%", Operator::modulo}};
  auto expression = make(Kind::arithmetic, current().line);
  expression->operands.push_back(parse_power());
  for (;;) {
    const auto* found = std::find_if(std::begin(kOperators), std::end(kOperators),
                                     [&](const auto& entry) { return is_symbol(entry.first); });
    if (found == std::end(kOperators)) break;
    take();
    expression->operators.push_back(found->second);
    expression->operands.push_back(parse_power());
  }
  if (expression->operators.empty()) return std::move(expression->operands[0]);
  return finish(std::move(expression));
}

// Jinja's ** binds to the left, and a unary minus binds tighter: -2 ** 2 is 4.
ExpressionPointer Parser::parse_power() {
  auto expression = make(Kind::arithmetic, current().line);
  expression->operands.push_back(parse_unary());
  while (skip_symbol("**")) {
    expression->operators.push_back(Operator::power);
    expression->operands.push_back(parse_unary());
  }
  if (expression->operators.empty()) return std::move(expression->operands[0]);
  return finish(std::move(expression));
}

ExpressionPointer Parser::parse_unary(bool with_filter) {
  ExpressionPointer expression;
  if (is_symbol("-") || is_symbol("+")) {
    const Nested nested(*this, expression_level_);
    const Token sign = take();
    expression = make(sign.text == "-" ? Kind::negate : Kind::plus, sign.line);
    expression->operands.push_back(parse_unary(false));
    expression = finish(std::move(expression));
  } else {
    expression = parse_primary();
  }
  expression = parse_postfix(std::move(expression));
  return with_filter ? parse_filters_and_tests(std::move(expression)) : std::move(expression);
}

ExpressionPointer Parser::parse_postfix(ExpressionPointer expression) {
  for (;;) {
    if (is_symbol(".") || is_symbol("[")) {
      expression = parse_subscript(std::move(expression));
    } else if (is_symbol("(")) {
      expression = parse_call(std::move(expression));
    } else {
      return expression;
    }
  }
}

ExpressionPointer Parser::parse_subscript(ExpressionPointer object) {
  const Token open = take();
  if (open.text == "." && current().kind == Token::Kind::name) {
    auto attribute = make(Kind::attribute, open.line);
    attribute->name = take().text;
    attribute->operands.push_back(std::move(object));
    return finish(std::move(attribute));
  }
  auto subscript = make(Kind::subscript, open.line);
  subscript->operands.push_back(std::move(object));
  if (open.text == ".") {
    if (current().kind != Token::Kind::integer) fail_unexpected("a name or a number");
    subscript->operands.push_back(parse_number());
    return finish(std::move(subscript));
  }
  auto index = parse_index();
  if (is_symbol(",")) {
    auto tuple = make(Kind::tuple, open.line);
    tuple->operands.push_back(std::move(index));
    while (skip_symbol(",")) tuple->operands.push_back(parse_index());
    index = finish(std::move(tuple));
  }
  expect_symbol("]");
  subscript->operands.push_back(std::move(index));
  return finish(std::move(subscript));
}

// An index or a slice start:stop:step, each part optional.
ExpressionPointer Parser::parse_index() {
  auto slice = make(Kind::slice, current().line);
  const auto at_end = [&] { return is_symbol(":") || is_symbol("]") || is_symbol(","); };
  slice->operands.push_back(is_symbol(":") ? nullptr : parse_expression());
  if (!is_symbol(":")) return std::move(slice->operands[0]);
  for (int part = 0; part < 2; ++part) {
    const bool present = skip_symbol(":");
    slice->operands.push_back(present && !at_end() ? parse_expression() : nullptr);
  }
  return finish(std::move(slice));
}

ExpressionPointer Parser::parse_call(ExpressionPointer callee) {
  auto call = make(Kind::call, current().line);
  call->arguments = parse_arguments();
  call->operands.push_back(std::move(callee));
  return finish(std::move(call));
}

std::unique_ptr<CallArguments> Parser::parse_arguments() {
  auto arguments = std::make_unique<CallArguments>();
  expect_symbol("(");
  bool first = true;
  while (!is_symbol(")")) {
    if (!first) expect_symbol(",");
    first = false;
    if (is_symbol(")")) break;
    parse_argument(*arguments);
  }
  expect_symbol(")");
  return arguments;
}

void Parser::parse_argument(CallArguments& arguments) {
  const bool no_more_positional = arguments.star || arguments.double_star;
  if (is_symbol("*")) {
    if (no_more_positional) fail_unexpected("an argument");
    take();
    arguments.star = parse_expression();
  } else if (is_symbol("**")) {
    if (arguments.double_star) fail_unexpected("an argument");
    take();
    arguments.double_star = parse_expression();
  } else if (current().kind == Token::Kind::name && next_token().kind == Token::Kind::symbol &&
             next_token().text == "=") {
    if (arguments.double_star) fail_unexpected("an argument");
    std::string name = take().text;
    take();
    for (const auto& [other, value] : arguments.keyword) {
      if (other == name) fail(fmt::format("the keyword argument '{}' is repeated", name));
    }
    arguments.keyword.emplace_back(std::move(name), parse_expression());
  } else {
    if (no_more_positional || !arguments.keyword.empty())
      fail("a positional argument follows keyword arguments");
    arguments.positional.push_back(parse_expression());
  }
}

ExpressionPointer Parser::parse_filters_and_tests(ExpressionPointer expression) {
  for (;;) {
    if (is_symbol("|")) {
      take();
      expression = parse_filter(std::move(expression));
    } else if (is_name("is")) {
      expression = parse_test(std::move(expression));
    } else if (is_symbol("(")) {
      expression = parse_call(std::move(expression));
    } else {
      return expression;
    }
  }
}

// Behind the bar: a filter's name and its arguments.
ExpressionPointer Parser::parse_filter(ExpressionPointer input) {
  auto filter = make(Kind::filter, current().line);
  filter->name = expect_name();
  if (conditional_level_ == 0 && !find_filter(filter->name)) {
    throw LocatedError(filter->line, fmt::format("no filter named '{}'", filter->name));
  }
  filter->arguments = is_symbol("(") ? parse_arguments() : std::make_unique<CallArguments>();
  filter->operands.push_back(std::move(input));
  return finish(std::move(filter));
}

ExpressionPointer Parser::parse_filter_chain(ExpressionPointer input) {
  while (skip_symbol("|")) input = parse_filter(std::move(input));
  return input;
}

// `is [not] name`, with arguments in parentheses or one argument without.
ExpressionPointer Parser::parse_test(ExpressionPointer input) {
  auto test = make(Kind::test, take().line);
  const bool negated = skip_name("not");
  test->name = expect_name();
  if (conditional_level_ == 0 && !find_test(test->name)) {
    throw LocatedError(test->line, fmt::format("no test named '{}'", test->name));
  }
  const Token::Kind kind = current().kind;
  const bool has_argument = kind == Token::Kind::name || kind == Token::Kind::string ||
                            kind == Token::Kind::integer || kind == Token::Kind::floating ||
                            is_symbol("[") || is_symbol("{");
  if (is_symbol("(")) {
    test->arguments = parse_arguments();
  } else {
    test->arguments = std::make_unique<CallArguments>();
    if (is_name("is")) fail("tests cannot be chained with is");
    if (has_argument && !is_name("else") && !is_name("or") && !is_name("and")) {
      const Nested nested(*this, expression_level_);
      ExpressionPointer argument = parse_primary();
      test->arguments->positional.push_back(parse_postfix(std::move(argument)));
    }
  }
  test->operands.push_back(std::move(input));
  ExpressionPointer expression = finish(std::move(test));
  if (!negated) return expression;
  auto inverted = make(Kind::logical_not, expression->line);
  inverted->operands.push_back(std::move(expression));
  return finish(std::move(inverted));
}

}  // namespace dunlin::jinja
