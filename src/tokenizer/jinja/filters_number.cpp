// Filters on numbers, and default.
#include <fmt/format.h>

#include <charconv>
#include <cmath>

#include "tokenizer/jinja/builtins.h"
#include "tokenizer/jinja/operators.h"
#include "tokenizer/jinja/text_search.h"

namespace dunlin::jinja {
namespace {

// The text without whitespace around it, underscores between digits, and a plus sign; empty when it
// is not a number.
std::string numeral(const Text& text) {
  const Text stripped = strip(text, nullptr, Side::both);
  std::string_view rest = stripped.bytes();
  if (rest.starts_with('+') && rest.substr(1, 1) != "-") rest.remove_prefix(1);
  std::string digits;
  const auto is_digit = [&](size_t i) {
    return i < rest.size() && rest[i] >= '0' && rest[i] <= '9';
  };
  for (size_t i = 0; i < rest.size(); ++i) {
    const bool separator = rest[i] == '_' && i > 0 && is_digit(i - 1) && is_digit(i + 1);
    if (!separator) digits.push_back(rest[i]);
  }
  return digits;
}

std::optional<double> parse_float(const Text& text) {
  const std::string digits = numeral(text);
  double value = 0;
  const char* end = digits.data() + digits.size();
  const auto parsed = std::from_chars(digits.data(), end, value);
  if (parsed.ptr != end || digits.empty()) return std::nullopt;
  if (parsed.ec == std::errc::result_out_of_range) throw TemplateError("a number is out of range");
  return parsed.ec == std::errc() ? std::optional(value) : std::nullopt;
}

std::optional<int64_t> parse_integer(const Text& text, int base) {
  std::string digits = numeral(text);
  const size_t prefix = digits.starts_with('-') ? 1 : 0;
  const std::string_view marker = std::string_view(digits).substr(prefix, 2);
  const bool marked = (base == 16 && (marker == "0x" || marker == "0X")) ||
                      (base == 8 && (marker == "0o" || marker == "0O")) ||
                      (base == 2 && (marker == "0b" || marker == "0B"));
  if (marked) digits.erase(prefix, 2);
  int64_t value = 0;
  const char* end = digits.data() + digits.size();
  const auto parsed = std::from_chars(digits.data(), end, value, base);
  if (parsed.ptr != end || digits.empty()) return std::nullopt;
  if (parsed.ec == std::errc::result_out_of_range)
    throw TemplateError("an integer does not fit in 64 bits");
  return parsed.ec == std::errc() ? std::optional(value) : std::nullopt;
}

std::optional<int64_t> truncate(double value) {
  if (std::isnan(value) || std::isinf(value)) return std::nullopt;
  if (std::abs(value) >= 0x1p63) throw TemplateError("an integer does not fit in 64 bits");
  return static_cast<int64_t>(value);
}

Value int_filter(Runtime& runtime, const Value& input, const Arguments& arguments) {
  const BoundArguments bound("int", arguments, {"default", "base"});
  require_defined(input);
  const int64_t base = bound.integer_or(1, 10);
  if (base < 2 || base > 36) throw TemplateError("int: the base must be 2 to 36");
  std::optional<int64_t> result;
  if (const Text* text = input.text()) {
    runtime.budget.work(text->size());
    result = parse_integer(*text, static_cast<int>(base));
    const std::optional<double> number = result ? std::nullopt : parse_float(*text);
    if (number) result = truncate(*number);
  } else if (input.floating()) {
    result = truncate(*input.floating());
  } else if (input.integer() || input.boolean()) {
    return unary_plus(input);
  }
  if (result) return Value(*result);
  return bound.find(0) ? bound.value(0) : Value(int64_t{0});
}

Value float_filter(Runtime& runtime, const Value& input, const Arguments& arguments) {
  const BoundArguments bound("float", arguments, {"default"});
  require_defined(input);
  if (input.floating()) return input;
  if (input.integer() || input.boolean())
    return arithmetic(Operator::add, input, Value(0.0), runtime.budget);
  if (const Text* text = input.text()) {
    runtime.budget.work(text->size());
    if (const auto number = parse_float(*text)) return Value(*number);
  }
  return bound.find(0) ? bound.value(0) : Value(0.0);
}

Value abs_filter(Runtime&, const Value& input, const Arguments& arguments) {
  const BoundArguments bound("abs", arguments, {});
  require_defined(input);
  if (input.floating()) return Value(std::abs(*input.floating()));
  const Value positive = unary_plus(input);
  return *positive.integer() < 0 ? negate(positive) : positive;
}

// Python's round(): to the nearest decimal of the exact value, ties to even.
double round_decimal(double value, int64_t precision) {
  if (!std::isfinite(value) || precision > 300) return value;
  if (precision < -300) return std::copysign(0.0, value);
  if (precision >= 0) {
    const std::string digits = fmt::format("{:.{}f}", value, precision);
    double rounded = 0;
    std::from_chars(digits.data(), digits.data() + digits.size(), rounded);
    return rounded;
  }
  const double scale = std::pow(10.0, static_cast<double>(-precision));
  return std::nearbyint(value / scale) * scale;
}

Value round_filter(Runtime& runtime, const Value& input, const Arguments& arguments) {
  const BoundArguments bound("round", arguments, {"precision", "method"});
  require_defined(input);
  const int64_t precision = bound.integer_or(0, 0);
  const std::string method = bound.find(1) ? bound.text(1).bytes() : "common";
  if (method != "common" && method != "ceil" && method != "floor") {
    throw TemplateError("round: the method must be common, ceil or floor");
  }
  const bool integral = input.integer() || input.boolean();
  if (integral && method == "common" && precision >= 0) return unary_plus(input);
  if (!integral && !input.floating())
    throw TemplateError(fmt::format("cannot round a {}", input.type_name()));
  const double value =
      integral ? *arithmetic(Operator::add, input, Value(0.0), runtime.budget).floating()
               : *input.floating();
  if (method == "common") {
    const double rounded = round_decimal(value, precision);
    const auto whole = integral ? truncate(rounded) : std::nullopt;
    return whole ? Value(*whole) : Value(rounded);
  }
  const double scale = std::pow(10.0, static_cast<double>(precision));
  const double scaled = method == "ceil" ? std::ceil(value * scale) : std::floor(value * scale);
  return Value(scaled / scale);
}

Value default_filter(Runtime&, const Value& input, const Arguments& arguments) {
  const BoundArguments bound("default", arguments, {"default_value", "boolean"});
  const bool replace = input.is_undefined() || (bound.boolean_or(1, false) && !input.truthy());
  if (!replace) return input;
  return bound.find(0) ? bound.value(0) : Value(Text());
}

constexpr Filter kFilters[] = {
    {"int", int_filter},     {"float", float_filter},     {"abs", abs_filter},
    {"round", round_filter}, {"default", default_filter}, {"d", default_filter},
};

}  // namespace

std::span<const Filter> number_filters() {
  return kFilters;
}

}  // namespace dunlin::jinja
