// What follows an operand: attributes, subscripts, calls, filters and tests.
#include <fmt/format.h>

#include <array>
#include <cstddef>
#include <string>
#include <utility>
#include <vector>

#include "tokenizer/jinja/builtins.h"
#include "tokenizer/jinja/limits.h"
#include "tokenizer/jinja/operators.h"
#include "tokenizer/jinja/parser.h"

namespace dunlin::jinja {

// Attributes, items and calls; with_filter: also filters and tests, behind which a call may follow.
Expression Parser::parse_postfix(Expression expression, bool with_filter) {
  bool filtered = false;
  last_was_call_ = false;
  for (int count = 0;; ++count) {
    if (count == kMaxNesting) fail("an expression nested deeper than 64");
    const bool call = at("(");
    const bool named = with_filter && (at("|") || at("is"));
    if (call) {
      expression = parse_call(std::move(expression));
    } else if (at(".") && !filtered) {
      expression = parse_dot(std::move(expression));
    } else if (at("[") && !filtered) {
      expression = parse_subscript(std::move(expression));
    } else if (named) {
      expression = parse_filter_or_test(std::move(expression), take().text == "is");
    } else {
      return expression;
    }
    last_was_call_ = call;
    filtered |= named;
  }
}

Expression Parser::parse_dot(Expression object) {
  const Position where = take().at;
  if (at(Token::Kind::name)) {
    return make_expression(where, [object, name = take().text](Frame& frame) {
      return get_attribute(frame.runtime, object(frame), name);
    });
  }
  if (!at(Token::Kind::integer)) fail_unexpected("a name or a number");
  return make_expression(where, [object, index = parse_number()](Frame& frame) {
    return get_item(frame.runtime, object(frame), index(frame));
  });
}

// An index, or a slice start:stop:step with each part optional.
Expression Parser::parse_subscript(Expression object) {
  const Position where = take().at;
  std::vector<Expression> parts(1);
  if (!at(":")) parts[0] = parse_expression();
  while (parts.size() < 3 && skip(":"))
    parts.push_back(at(":") || at("]") ? Expression() : parse_expression());
  expect("]");
  return make_expression(where, [object, parts](Frame& frame) {
    const Value container = object(frame);
    if (parts.size() == 1) return get_item(frame.runtime, container, parts[0](frame));
    std::array<Value, 3> values;
    for (size_t i = 0; i < parts.size(); ++i) values[i] = parts[i] ? parts[i](frame) : Value();
    return get_slice(frame.runtime, container, values[0], values[1], values[2]);
  });
}

Expression Parser::parse_call(Expression callee) {
  const Position where = callee.at;
  return make_expression(where, [callee, list = parse_arguments(), where](Frame& frame) {
    Value caller = std::exchange(frame.caller, Value());
    const Value function = callee(frame);
    Arguments arguments = list.evaluate(frame);
    if (!caller.is_none()) arguments.keyword.emplace_back("caller", std::move(caller));
    frame.at = where;
    return call(function, std::move(arguments), frame);
  });
}

ArgumentList Parser::parse_arguments() {
  ArgumentList arguments;
  expect("(");
  while (!skip(")")) {
    parse_argument(arguments);
    if (!at(")")) expect(",");
  }
  return arguments;
}

void Parser::parse_argument(ArgumentList& arguments) {
  if (arguments.positional.size() + arguments.keyword.size() == kMaxArguments)
    fail("a call has more than 255 arguments");
  if (arguments.double_star) fail("an argument follows **");
  if (skip("**")) {
    arguments.double_star = parse_expression();
  } else if (!arguments.star && skip("*")) {
    arguments.star = parse_expression();
  } else if (at(Token::Kind::name) && at_next("=")) {
    std::string name = take().text;
    take();
    for (const auto& [known, value] : arguments.keyword) {
      if (known == name) fail(fmt::format("the keyword argument '{}' is repeated", name));
    }
    arguments.keyword.emplace_back(std::move(name), parse_expression());
  } else {
    if (arguments.star || !arguments.keyword.empty())
      fail("a positional argument follows keyword arguments");
    arguments.positional.push_back(parse_expression());
  }
}

// `| name | name ...` or nothing; begins_with_name: without the first bar.
Expression Parser::parse_filters(Expression input, bool begins_with_name) {
  for (int count = 0; begins_with_name || skip("|"); ++count) {
    if (count == kMaxNesting) fail("an expression nested deeper than 64");
    input = parse_filter_or_test(std::move(input), false);
    begins_with_name = false;
  }
  return input;
}

// Behind `|` or `is`: `name` or `[not] name`, with arguments in parentheses; a test may have one without them.
Expression Parser::parse_filter_or_test(Expression input, bool is_test) {
  const bool negated = is_test && skip("not");
  const Position where = current().at;
  const std::string name = expect_name();
  const Builtin* builtin = is_test ? find_test(name) : find_filter(name);
  const std::string unknown = fmt::format("no {} named '{}'", is_test ? "test" : "filter", name);
  if (!builtin && conditional_level_ == 0) throw LocatedError(where, unknown);
  if (is_test && at("is")) fail("tests cannot be chained with is");
  const bool argument = at(Token::Kind::name) || at(Token::Kind::string) ||
                        at(Token::Kind::integer) || at(Token::Kind::floating) || at("[") || at("{");
  ArgumentList list;
  if (at("(")) {
    list = parse_arguments();
  } else if (is_test && argument && !at("else") && !at("or") && !at("and")) {
    const Level level(expression_level_, kMaxNesting, "an expression");
    list.positional.push_back(parse_postfix(parse_primary(), false));
  }
  return make_expression(
      where, [input, builtin, unknown, list, where, is_test, negated](Frame& frame) {
        const Value value = input(frame);
        const Arguments arguments = list.evaluate(frame);
        frame.at = where;
        if (!builtin) throw TemplateError(unknown);
        const Value result = run_builtin(*builtin, frame.runtime, value, arguments);
        return is_test ? Value(result.truthy() != negated) : result;
      });
}

}  // namespace dunlin::jinja
