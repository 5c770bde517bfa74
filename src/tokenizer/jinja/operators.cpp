// Arithmetic, after Python's int, float, str, list and tuple.
#include "tokenizer/jinja/operators.h"

#include <fmt/format.h>

#include <cmath>
#include <limits>

#include "base/checked.h"
#include "tokenizer/jinja/format.h"

namespace dunlin::jinja {
namespace {

// bool counts as an integer.
std::optional<int64_t> as_integer(const Value& value) {
  if (value.integer()) return *value.integer();
  if (value.boolean()) return *value.boolean() ? 1 : 0;
  return std::nullopt;
}

std::optional<double> as_number(const Value& value) {
  if (value.floating()) return *value.floating();
  if (const auto integer = as_integer(value)) return static_cast<double>(*integer);
  return std::nullopt;
}

constexpr const char* kSymbols[] = {"+", "-", "*", "/", "//", "%", "**"};

[[noreturn]] void fail_types(Operator op, const Value& left, const Value& right) {
  require_defined(left);
  require_defined(right);
  throw TemplateError(fmt::format("unsupported operand types for {}: '{}' and '{}'",
                                  kSymbols[static_cast<size_t>(op)], left.type_name(),
                                  right.type_name()));
}

Value checked(std::optional<int64_t> result) {
  if (!result) throw TemplateError("an integer does not fit in 64 bits");
  return Value(*result);
}

// Quotient rounded to minus infinity.
int64_t floor_quotient(int64_t a, int64_t b) {
  const int64_t quotient = a / b;
  return a % b != 0 && (a < 0) != (b < 0) ? quotient - 1 : quotient;
}

std::optional<int64_t> integer_power(int64_t base, int64_t exponent) {
  int64_t result = 1;
  while (exponent > 0) {
    if (exponent & 1) {
      const auto product = checked_mul(result, base);
      if (!product) return std::nullopt;
      result = *product;
    }
    exponent >>= 1;
    if (exponent == 0) break;
    const auto square = checked_mul(base, base);
    if (!square) return std::nullopt;
    base = *square;
  }
  return result;
}

Value divide_integers(Operator op, int64_t a, int64_t b) {
  if (b == 0) throw TemplateError("division by zero");
  if (op == Operator::divide) return Value(static_cast<double>(a) / static_cast<double>(b));
  if (b == -1) {  // the quotient of the smallest integer would overflow
    return op == Operator::modulo ? Value(int64_t{0})
                                  : checked(a == INT64_MIN ? std::nullopt : std::optional(-a));
  }
  const int64_t quotient = floor_quotient(a, b);
  return Value(op == Operator::floor_divide ? quotient : a - quotient * b);
}

Value integer_arithmetic(Operator op, int64_t a, int64_t b) {
  int64_t result = 0;
  switch (op) {
    case Operator::add:
      return checked(checked_add(a, b));
    case Operator::subtract:
      return checked(__builtin_sub_overflow(a, b, &result) ? std::nullopt : std::optional(result));
    case Operator::multiply:
      return checked(checked_mul(a, b));
    case Operator::power:
      if (b >= 0) return checked(integer_power(a, b));
      if (a == 0) throw TemplateError("0 cannot be raised to a negative power");
      return Value(std::pow(static_cast<double>(a), static_cast<double>(b)));
    default:
      return divide_integers(op, a, b);
  }
}

// Remainder with the sign of the divisor, and the quotient that belongs to it (CPython,
// float_divmod).
Value float_division(Operator op, double a, double b) {
  if (b == 0.0) throw TemplateError("float division by zero");
  if (op == Operator::divide) return Value(a / b);
  double remainder = std::fmod(a, b);
  double quotient = (a - remainder) / b;
  if (remainder != 0.0) {
    if ((b < 0) != (remainder < 0)) {
      remainder += b;
      quotient -= 1.0;
    }
  } else {
    remainder = std::copysign(0.0, b);
  }
  if (op == Operator::modulo) return Value(remainder);
  if (quotient == 0.0) return Value(std::copysign(0.0, a / b));
  const double floored = std::floor(quotient);
  return Value(quotient - floored > 0.5 ? floored + 1.0 : floored);
}

Value float_arithmetic(Operator op, double a, double b) {
  switch (op) {
    case Operator::add:
      return Value(a + b);
    case Operator::subtract:
      return Value(a - b);
    case Operator::multiply:
      return Value(a * b);
    case Operator::power: {
      if (a == 0.0 && b < 0.0) throw TemplateError("0.0 cannot be raised to a negative power");
      const double result = std::pow(a, b);
      if (std::isnan(result) && !std::isnan(a) && !std::isnan(b))
        throw TemplateError("a power is a complex number");
      if (std::isinf(result) && !std::isinf(a) && !std::isinf(b))
        throw TemplateError("a power is too large");
      return Value(result);
    }
    default:
      return float_division(op, a, b);
  }
}

std::optional<size_t> repetitions(const Value& count, size_t size) {
  const auto number = as_integer(count);
  if (!number) return std::nullopt;
  if (*number <= 0 || size == 0) return 0;
  const auto total = checked_mul(static_cast<size_t>(*number), size);
  if (!total || *total > kMaxWorkBytes) throw TemplateError("a repetition is too large");
  return static_cast<size_t>(*number);
}

Value repeat_text(const Text& text, size_t count, Budget& budget) {
  TextBuilder builder;
  for (size_t i = 0; i < count; ++i) builder.append(text);
  return make_string(builder.take(), budget);
}

Value repeat_sequence(const Sequence& sequence, size_t count, Budget& budget) {
  budget.work(count * sequence.items.size() * sizeof(Value));
  std::vector<Value> items;
  for (size_t i = 0; i < count; ++i)
    items.insert(items.end(), sequence.items.begin(), sequence.items.end());
  return make_sequence(sequence.kind, std::move(items), budget);
}

bool is_list_or_tuple(const Value& value) {
  return value.sequence() && value.sequence()->kind <= Sequence::Kind::tuple;
}

std::optional<Value> repeat(const Value& value, const Value& count, Budget& budget) {
  if (const Text* text = value.text()) {
    const auto times = repetitions(count, text->size());
    if (times) return repeat_text(*text, *times, budget);
  } else if (is_list_or_tuple(value)) {
    const auto times = repetitions(count, value.sequence()->items.size() * sizeof(Value));
    if (times) return repeat_sequence(*value.sequence(), *times, budget);
  }
  return std::nullopt;
}

std::optional<Value> add_sequences(const Value& left, const Value& right, Budget& budget) {
  if (left.text() && right.text()) {
    TextBuilder builder;
    builder.append(*left.text());
    builder.append(*right.text());
    return make_string(builder.take(), budget);
  }
  const bool both = is_list_or_tuple(left) && is_list_or_tuple(right);
  if (!both || left.sequence()->kind != right.sequence()->kind) return std::nullopt;
  std::vector<Value> items = left.sequence()->items;
  items.insert(items.end(), right.sequence()->items.begin(), right.sequence()->items.end());
  return make_sequence(left.sequence()->kind, std::move(items), budget);
}

// What + and * mean for strings, lists and tuples, and % for strings.
std::optional<Value> sequence_arithmetic(Operator op, const Value& left, const Value& right,
                                         Budget& budget) {
  if (op == Operator::add) return add_sequences(left, right, budget);
  if (op == Operator::multiply) {
    auto repeated = repeat(left, right, budget);
    return repeated ? repeated : repeat(right, left, budget);
  }
  if (op == Operator::modulo && left.text()) {
    require_defined(right);
    return make_string(percent_format(*left.text(), right, budget), budget);
  }
  return std::nullopt;
}

}  // namespace

Value arithmetic(Operator op, const Value& left, const Value& right, Budget& budget) {
  if (left.is_undefined() || right.is_undefined()) fail_types(op, left, right);
  if (auto result = sequence_arithmetic(op, left, right, budget)) return *result;
  const auto left_integer = as_integer(left);
  const auto right_integer = as_integer(right);
  if (left_integer && right_integer) return integer_arithmetic(op, *left_integer, *right_integer);
  const auto left_number = as_number(left);
  const auto right_number = as_number(right);
  if (!left_number || !right_number) fail_types(op, left, right);
  return float_arithmetic(op, *left_number, *right_number);
}

Value negate(const Value& value) {
  require_defined(value);
  if (const double* number = value.floating()) return Value(-*number);
  const auto integer = as_integer(value);
  if (!integer)
    throw TemplateError(fmt::format("bad operand type for unary -: '{}'", value.type_name()));
  return integer_arithmetic(Operator::subtract, 0, *integer);
}

Value unary_plus(const Value& value) {
  require_defined(value);
  if (value.floating()) return value;
  const auto integer = as_integer(value);
  if (!integer)
    throw TemplateError(fmt::format("bad operand type for unary +: '{}'", value.type_name()));
  return Value(*integer);
}

}  // namespace dunlin::jinja
