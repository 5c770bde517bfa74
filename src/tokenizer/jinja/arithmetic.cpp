// Arithmetic, after Python's int, float, str, list and tuple.
#include <fmt/format.h>

#include <cmath>

#include "base/checked.h"
#include "tokenizer/jinja/operators.h"
#include "tokenizer/jinja/percent_format.h"

namespace dunlin::jinja {
namespace {

[[noreturn]] void fail_types(Operator op, const Value& left, const Value& right) {
  static constexpr const char* kSymbols[] = {"+", "-", "*", "/", "//", "%", "**"};
  left.require_defined();
  right.require_defined();
  throw TemplateError(fmt::format("unsupported operand types for {}: '{}' and '{}'",
                                  kSymbols[static_cast<size_t>(op)], left.type_name(),
                                  right.type_name()));
}

Value checked(std::optional<int64_t> result) {
  if (!result) throw TemplateError("an integer does not fit in 64 bits");
  return Value(*result);
}

std::optional<int64_t> subtract(int64_t a, int64_t b) {
  int64_t difference = 0;
  return __builtin_sub_overflow(a, b, &difference) ? std::nullopt : std::optional(difference);
}

std::optional<int64_t> power(int64_t base, int64_t exponent) {
  int64_t result = 1;
  for (;; exponent >>= 1) {
    if (exponent & 1) {
      const auto product = checked_mul(result, base);
      if (!product) return std::nullopt;
      result = *product;
    }
    if (exponent <= 1) return result;
    const auto square = checked_mul(base, base);
    if (!square) return std::nullopt;
    base = *square;
  }
}

Value float_power(double base, double exponent) {
  if (base == 0.0 && exponent < 0.0) throw TemplateError("0 cannot be raised to a negative power");
  const double result = std::pow(base, exponent);
  if (std::isnan(result) && !std::isnan(base) && !std::isnan(exponent))
    throw TemplateError("a power is a complex number");
  if (std::isinf(result) && std::isfinite(base) && std::isfinite(exponent))
    throw TemplateError("a power is too large");
  return Value(result);
}

// Division rounds to minus infinity.
Value divide_integers(Operator op, int64_t a, int64_t b) {
  if (b == 0) throw TemplateError("division by zero");
  if (op == Operator::divide) return Value(static_cast<double>(a) / static_cast<double>(b));
  if (b == -1)  // the quotient of the smallest integer would overflow
    return op == Operator::modulo ? Value(int64_t{0}) : checked(subtract(0, a));
  const int64_t quotient = a / b - (a % b != 0 && (a < 0) != (b < 0) ? 1 : 0);
  return Value(op == Operator::floor_divide ? quotient : a - quotient * b);
}

Value integer_arithmetic(Operator op, int64_t a, int64_t b) {
  switch (op) {
    case Operator::add:
      return checked(checked_add(a, b));
    case Operator::subtract:
      return checked(subtract(a, b));
    case Operator::multiply:
      return checked(checked_mul(a, b));
    case Operator::power:
      return b >= 0 ? checked(power(a, b))
                    : float_power(static_cast<double>(a), static_cast<double>(b));
    default:
      return divide_integers(op, a, b);
  }
}

// The remainder has the sign of the divisor.
Value divide_floats(Operator op, double a, double b) {
  if (b == 0.0) throw TemplateError("float division by zero");
  if (op == Operator::divide) return Value(a / b);
  double remainder = std::fmod(a, b);
  if (remainder != 0.0 && (b < 0) != (remainder < 0)) remainder += b;
  if (op == Operator::modulo) return Value(std::copysign(remainder, b));
  return Value(std::round((a - remainder) / b));
}

Value float_arithmetic(Operator op, double a, double b) {
  switch (op) {
    case Operator::add:
      return Value(a + b);
    case Operator::subtract:
      return Value(a - b);
    case Operator::multiply:
      return Value(a * b);
    case Operator::power:
      return float_power(a, b);
    default:
      return divide_floats(op, a, b);
  }
}

bool is_list_or_tuple(const Value& value) {
  return value.sequence() && value.sequence()->is_list_or_tuple();
}

// value * count for a string, list or tuple.
std::optional<Value> repeat(const Value& value, const Value& count, Runtime& runtime) {
  const auto number = count.as_integer();
  if (!number || !(value.text() || is_list_or_tuple(value))) return std::nullopt;
  const size_t size =
      value.text() ? value.text()->size() : value.sequence()->items.size() * sizeof(Value);
  const size_t times = *number <= 0 || size == 0 ? 0 : static_cast<size_t>(*number);
  const auto total = checked_mul(times, size);
  if (!total || *total > kMaxWorkBytes) throw TemplateError("a repetition is too large");
  if (const Text* text = value.text()) {
    TextBuilder builder;
    for (size_t i = 0; i < times; ++i) builder.append(*text);
    return runtime.string(builder.take());
  }
  runtime.work(*total);
  std::vector<Value> items;
  for (size_t i = 0; i < times; ++i)
    items.insert(items.end(), value.sequence()->items.begin(), value.sequence()->items.end());
  return runtime.sequence(value.sequence()->kind, std::move(items));
}

std::optional<Value> concatenate(const Value& left, const Value& right, Runtime& runtime) {
  if (left.text() && right.text()) {
    TextBuilder builder;
    builder.append(*left.text());
    builder.append(*right.text());
    return runtime.string(builder.take());
  }
  const bool both = is_list_or_tuple(left) && is_list_or_tuple(right);
  if (!both || left.sequence()->kind != right.sequence()->kind) return std::nullopt;
  std::vector<Value> items = left.sequence()->items;
  items.insert(items.end(), right.sequence()->items.begin(), right.sequence()->items.end());
  return runtime.sequence(left.sequence()->kind, std::move(items));
}

}  // namespace

Value arithmetic(Operator op, const Value& left, const Value& right, Runtime& runtime) {
  std::optional<Value> result;
  if (op == Operator::add) result = concatenate(left, right, runtime);
  if (op == Operator::multiply) result = repeat(left, right, runtime);
  if (op == Operator::multiply && !result) result = repeat(right, left, runtime);
  if (result) return *result;
  if (left.text() && op == Operator::modulo)
    return runtime.string(percent_format(*left.text(), right, runtime));
  const auto left_integer = left.as_integer();
  const auto right_integer = right.as_integer();
  if (left_integer && right_integer) return integer_arithmetic(op, *left_integer, *right_integer);
  const auto left_number = left.as_number();
  const auto right_number = right.as_number();
  if (!left_number || !right_number) fail_types(op, left, right);
  return float_arithmetic(op, static_cast<double>(*left_number),
                          static_cast<double>(*right_number));
}

Value negate(const Value& value) {
  const Value number = unary_plus(value);
  if (number.floating()) return Value(-*number.floating());
  return integer_arithmetic(Operator::subtract, 0, *number.integer());
}

Value unary_plus(const Value& value) {
  value.require_defined();
  if (value.floating()) return value;
  if (const auto integer = value.as_integer()) return Value(*integer);
  throw TemplateError(fmt::format("bad operand type for a sign: '{}'", value.type_name()));
}

}  // namespace dunlin::jinja
