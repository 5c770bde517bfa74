// The parser's expressions: Jinja's precedence, from `a if b else c` down to names and literals.
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

Expression constant(Position where, Value value) {
  return make_expression(where, [value](Frame&) { return value; });
}

Expression make_sequence(Position where, Sequence::Kind kind, std::vector<Expression> items) {
  return make_expression(where, [kind, items = std::move(items)](Frame& frame) {
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
  return make_expression(where, [value, condition, otherwise, where](Frame& frame) {
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
  return make_expression(where, std::move(chain));
}

Expression Parser::parse_not() {
  if (!at("not")) return parse_chain(kCompare);
  const Level level(expression_level_, kMaxNesting, "an expression");
  const Position where = take().at;
  Expression operand = parse_not();
  last_was_call_ = false;
  return make_expression(where,
                         [operand](Frame& frame) { return Value(!operand(frame).truthy()); });
}

Expression Parser::parse_unary(bool with_filter) {
  if (!at("-") && !at("+")) return parse_postfix(parse_primary(), with_filter);
  const Level level(expression_level_, kMaxNesting, "an expression");
  const Token sign = take();
  const auto change = sign.text == "-" ? negate : unary_plus;
  Expression operand = parse_unary(false);
  return parse_postfix(
      make_expression(sign.at, [operand, change](Frame& frame) { return change(operand(frame)); }),
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
  return make_expression(token.at, [name](Frame& frame) {
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
  return make_expression(where, [parts](Frame& frame) {
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

}  // namespace dunlin::jinja
