// The parser's expressions: Jinja's precedence, from `a if b else c` down to subscripts, calls,
// filters and tests.
#include <fmt/format.h>

#include <algorithm>
#include <charconv>

#include "tokenizer/jinja/builtins.h"
#include "tokenizer/jinja/operators.h"
#include "tokenizer/jinja/parser.h"
#include "tokenizer/jinja/print.h"

namespace dunlin::jinja {
namespace {

// Levels of precedence, the weakest first; `not` stands before the comparisons.
enum Precedence : size_t { kOr, kAnd, kCompare, kSum, kConcat, kProduct, kPower, kUnary };

struct OperatorWord {
  size_t level;
  std::string_view word;
  Operator op;
};
constexpr OperatorWord kOperators[] = {
    {kOr, "or", Operator::logical_or},  {kAnd, "and", Operator::logical_and},
    {kCompare, "==", Operator::equal},  {kCompare, "!=", Operator::not_equal},
    {kCompare, "<", Operator::less},    {kCompare, "<=", Operator::less_equal},
    {kCompare, ">", Operator::greater}, {kCompare, ">=", Operator::greater_equal},
    {kCompare, "in", Operator::in},     {kCompare, "not", Operator::not_in},
    {kSum, "+", Operator::add},         {kSum, "-", Operator::subtract},
    {kConcat, "~", Operator::concat},   {kProduct, "*", Operator::multiply},
    {kProduct, "/", Operator::divide},  {kProduct, "//", Operator::floor_divide},
    {kProduct, "%", Operator::modulo},  {kPower, "**", Operator::power},
};

// Operands with operators of one level between them, from the left.
struct Chain {
  std::vector<Expression> operands;
  std::vector<Operator> operators;
  std::vector<Position> places;  // of the operators

  // The first operand whose truth is `stop_at`, or the last one.
  Value logical(Frame& frame, bool stop_at) const {
    Value value;
    for (const Expression& operand : operands) {
      value = operand(frame);
      if (value.truthy() == stop_at) break;
    }
    return value;
  }
  Value compare(Frame& frame) const {
    Value left = operands[0](frame);
    for (size_t i = 0; i < operators.size(); ++i) {
      Value right = operands[i + 1](frame);
      frame.at = places[i];
      if (!jinja::compare(operators[i], left, right, frame.runtime)) return Value(false);
      left = std::move(right);
    }
    return Value(true);
  }
  Value concat(Frame& frame) const {
    TextBuilder builder;
    for (const Expression& operand : operands)
      builder.append(to_text(operand(frame), frame.runtime));
    return frame.runtime.string(builder.take());
  }
  Value arithmetic(Frame& frame) const {
    Value result = operands[0](frame);
    for (size_t i = 0; i < operators.size(); ++i) {
      const Value right = operands[i + 1](frame);
      frame.at = places[i];
      result = jinja::arithmetic(operators[i], result, right, frame.runtime);
    }
    return result;
  }
  Value operator()(Frame& frame) const {
    const Operator first = operators[0];
    if (first == Operator::logical_or) return logical(frame, true);
    if (first == Operator::logical_and) return logical(frame, false);
    if (first == Operator::concat) return concat(frame);
    return first < Operator::equal ? arithmetic(frame) : compare(frame);
  }
};

std::vector<Value> evaluate_all(const std::vector<Expression>& parts, Frame& frame) {
  std::vector<Value> values;
  for (const Expression& part : parts) values.push_back(part(frame));
  return values;
}

Expression make(Position where, std::function<Value(Frame&)> function) {
  return {std::make_shared<const std::function<Value(Frame&)>>(std::move(function)), where};
}

Expression constant(Position where, Value value) {
  return make(where, [value](Frame&) { return value; });
}

Expression make_sequence(Position where, Sequence::Kind kind, std::vector<Expression> items) {
  return make(where, [kind, items = std::move(items)](Frame& frame) {
    return frame.runtime.sequence(kind, evaluate_all(items, frame));
  });
}

}  // namespace

Expression Parser::parse_expression(bool with_conditional) {
  const Level level(expression_level_, kMaxNesting, "an expression");
  return with_conditional ? parse_conditional() : parse_chain(kOr);
}

Expression Parser::parse_conditional() {
  Expression value = parse_chain(kOr);
  if (!at("if")) return value;
  const Position where = take().at;
  ++conditional_level_;
  Expression condition = parse_chain(kOr);
  Expression otherwise = skip("else") ? parse_expression() : Expression();
  --conditional_level_;
  last_was_call_ = false;
  return make(where, [value, condition, otherwise, where](Frame& frame) {
    if (condition(frame).truthy()) return value(frame);
    if (otherwise) return otherwise(frame);
    return Value::undefined(
        fmt::format("the inline if-expression on line {} evaluated to false and "
                    "no else section was defined.",
                    where.line));
  });
}

// Operators of one level, from the left, ** too.
Expression Parser::parse_chain(size_t level) {
  if (level == kUnary) return parse_unary();
  const auto parse_operand = [&] { return level == kAnd ? parse_not() : parse_chain(level + 1); };
  const Position where = current().at;
  Chain chain;
  chain.operands.push_back(parse_operand());
  for (;;) {
    const auto* found = std::find_if(
        std::begin(kOperators), std::end(kOperators),
        [&](const OperatorWord& entry) { return entry.level == level && at(entry.word); });
    if (found == std::end(kOperators)) break;
    if (found->op == Operator::not_in && !at_next("in")) break;
    chain.places.push_back(take().at);
    if (found->op == Operator::not_in) take();
    chain.operators.push_back(found->op);
    chain.operands.push_back(parse_operand());
  }
  if (chain.operators.empty()) return std::move(chain.operands[0]);
  last_was_call_ = false;
  return make(where, std::move(chain));
}

Expression Parser::parse_not() {
  if (!at("not")) return parse_chain(kCompare);
  const Level level(expression_level_, kMaxNesting, "an expression");
  const Position where = take().at;
  Expression operand = parse_not();
  last_was_call_ = false;
  return make(where, [operand](Frame& frame) { return Value(!operand(frame).truthy()); });
}

Expression Parser::parse_unary(bool with_filter) {
  if (!at("-") && !at("+")) return parse_postfix(parse_primary(), with_filter);
  const Level level(expression_level_, kMaxNesting, "an expression");
  const Token sign = take();
  const auto change = sign.text == "-" ? negate : unary_plus;
  Expression operand = parse_unary(false);
  return parse_postfix(
      make(sign.at, [operand, change](Frame& frame) { return change(operand(frame)); }),
      with_filter);
}

Expression Parser::parse_primary() {
  const Position where = current().at;
  if (at(Token::Kind::name)) return parse_name();
  if (at(Token::Kind::integer) || at(Token::Kind::floating)) return parse_number();
  if (at(Token::Kind::string)) {
    std::string bytes;
    while (at(Token::Kind::string)) bytes += take().text;
    return constant(where, Value(Text(std::move(bytes), true)));
  }
  if (skip("[")) return make_sequence(where, Sequence::Kind::list, parse_list("]"));
  if (at("{")) return parse_dict();
  if (!skip("(")) fail_unexpected("an expression");
  Expression inside = at(")") ? make_sequence(where, Sequence::Kind::tuple, {}) : parse_tuple(true);
  expect(")");
  return inside;
}

Expression Parser::parse_name() {
  const Token token = take();
  const std::string& name = token.text;
  if (name == "true" || name == "True") return constant(token.at, Value(true));
  if (name == "false" || name == "False") return constant(token.at, Value(false));
  if (name == "none" || name == "None") return constant(token.at, Value());
  for (Macro* macro : macros_) {
    macro->uses_caller |= name == "caller";
    macro->uses_varargs |= name == "varargs";
    macro->uses_kwargs |= name == "kwargs";
  }
  return make(token.at, [name](Frame& frame) {
    if (const Value* value = frame.scope->find(name)) return *value;
    if (const Builtin* function = find_global(name)) return Value(function);
    return Value::undefined(fmt::format("'{}' is undefined", name));
  });
}

Expression Parser::parse_number() {
  const Token token = take();
  const auto read = [&](auto number) {
    const char* begin = token.text.data();
    const auto parsed = std::from_chars(begin, begin + token.text.size(), number);
    if (parsed.ec != std::errc()) throw LocatedError(token.at, "a number is out of range");
    return Value(number);
  };
  return constant(token.at,
                  token.kind == Token::Kind::integer ? read(int64_t{0}) : read(double{0}));
}

// Expressions with commas between, up to and with `close`.
std::vector<Expression> Parser::parse_list(std::string_view close) {
  std::vector<Expression> items;
  while (!skip(close)) {
    items.push_back(parse_expression());
    if (!at(close)) expect(",");
  }
  return items;
}

Expression Parser::parse_dict() {
  const Position where = take().at;
  std::vector<std::pair<Expression, Expression>> parts;
  while (!skip("}")) {
    Expression key = parse_expression();
    expect(":");
    parts.emplace_back(std::move(key), parse_expression());
    if (!at("}")) expect(",");
  }
  return make(where, [parts](Frame& frame) {
    Dict dict;
    for (const auto& [key_part, value_part] : parts) {
      Value key = key_part(frame);
      dict.set(std::move(key), value_part(frame), frame.runtime);
    }
    return Value(std::make_shared<const Dict>(std::move(dict)));
  });
}

Expression Parser::parse_tuple(bool with_conditional, std::string_view end_name) {
  const auto at_end = [&] {
    return at(Token::Kind::variable_end) || at(Token::Kind::block_end) || at(")") ||
           (!end_name.empty() && at(end_name));
  };
  const Position where = current().at;
  std::vector<Expression> items;
  items.push_back(parse_expression(with_conditional));
  if (!at(",")) return std::move(items[0]);
  while (skip(",") && !at_end()) items.push_back(parse_expression(with_conditional));
  return make_sequence(where, Sequence::Kind::tuple, std::move(items));
}

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
    return make(where, [object, name = take().text](Frame& frame) {
      return get_attribute(frame.runtime, object(frame), name);
    });
  }
  if (!at(Token::Kind::integer)) fail_unexpected("a name or a number");
  return make(where, [object, index = parse_number()](Frame& frame) {
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
  return make(where, [object, parts](Frame& frame) {
    const Value container = object(frame);
    if (parts.size() == 1) return get_item(frame.runtime, container, parts[0](frame));
    std::array<Value, 3> values;
    for (size_t i = 0; i < parts.size(); ++i) values[i] = parts[i] ? parts[i](frame) : Value();
    return get_slice(frame.runtime, container, values[0], values[1], values[2]);
  });
}

Expression Parser::parse_call(Expression callee) {
  const Position where = callee.at;
  return make(where, [callee, list = parse_arguments(), where](Frame& frame) {
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
  return make(where, [input, builtin, unknown, list, where, is_test, negated](Frame& frame) {
    const Value value = input(frame);
    const Arguments arguments = list.evaluate(frame);
    frame.at = where;
    if (!builtin) throw TemplateError(unknown);
    const Value result = run_builtin(*builtin, frame.runtime, value, arguments);
    return is_test ? Value(result.truthy() != negated) : result;
  });
}

}  // namespace dunlin::jinja
