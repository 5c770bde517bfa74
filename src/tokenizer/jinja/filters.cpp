// Filters on text and numbers, after jinja2/filters.py; tojson as transformers defines it.
#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <cmath>

#include "tokenizer/jinja/builtins.h"
#include "tokenizer/jinja/operators.h"
#include "tokenizer/jinja/percent_format.h"
#include "tokenizer/jinja/print.h"
#include "tokenizer/jinja/text_functions.h"

namespace dunlin::jinja {
namespace {

template <Text (*change)(const Text&)>
Value case_filter(Call& c) {
  return c.runtime.string(change(c.self_text()));
}

Value string_filter(Call& c) {
  return c.runtime.string(c.self_text());
}

Value trim_filter(Call& c) {
  return run_builtin(*find_method(Value(Text()), "strip"), c.runtime,
                     c.runtime.string(c.self_text()), c.arguments);
}

// str.replace of the texts of all three.
Value replace_filter(Call& c) {
  const Value self = c.runtime.string(c.self_text());
  Arguments texts;
  for (const size_t i : {0, 1})
    texts.positional.push_back(c.runtime.string(to_text(c.value(i), c.runtime)));
  texts.positional.push_back(c.value(2));
  return run_builtin(*find_method(self, "replace"), c.runtime, self, texts);
}

Value tojson_filter(Call& c) {
  JsonOptions options;
  options.ensure_ascii = c.is_true(0);
  options.sort_keys = c.is_true(3);
  if (const Value* indent = c.find(1)) {
    const int64_t width = indent->text() ? 0 : std::max<int64_t>(c.integer_or(1, 0), 0);
    if (width > 1000) throw TemplateError("tojson: the indent is larger than 1000");
    options.indent =
        indent->text() ? indent->text()->bytes() : std::string(static_cast<size_t>(width), ' ');
    options.item_separator = std::string(1, ',');
  }
  if (const Value* separators = c.find(2)) {
    const std::vector<Value> pair = iterate(*separators, c.runtime);
    if (pair.size() != 2 || !pair[0].text() || !pair[1].text())
      throw TemplateError("tojson: separators must be two strings");
    options.item_separator = pair[0].text()->bytes();
    options.key_separator = pair[1].text()->bytes();
  }
  return c.runtime.string(to_json(c.self, options, c.runtime));
}

// The text's digits without whitespace around them, underscores between them and a plus sign.
std::string numeral(Call& c) {
  c.runtime.work(c.self.text()->size());
  const Text stripped = strip(*c.self.text(), nullptr, Side::both);
  std::string_view rest = stripped.bytes();
  if (rest.starts_with('+') && rest.substr(1, 1) != "-") rest.remove_prefix(1);
  const auto is_digit = [&](size_t i) {
    return i < rest.size() && rest[i] >= '0' && rest[i] <= '9';
  };
  std::string digits;
  for (size_t i = 0; i < rest.size(); ++i) {
    if (rest[i] != '_' || i == 0 || !is_digit(i - 1) || !is_digit(i + 1)) digits += rest[i];
  }
  return digits;
}

// `format` are from_chars' arguments behind the number: a base, or nothing. Absent when the text is no
// number.
template <typename Number, typename... Format>
std::optional<Number> read_number(std::string_view digits, Format... format) {
  Number number = 0;
  const char* end = digits.data() + digits.size();
  const auto parsed = std::from_chars(digits.data(), end, number, format...);
  if (parsed.ptr != end || parsed.ec == std::errc::invalid_argument) return std::nullopt;
  if (parsed.ec != std::errc()) throw TemplateError("a number does not fit in 64 bits");
  return number;
}

std::optional<int64_t> read_integer(std::string digits, int base) {
  const size_t prefix = digits.starts_with('-') ? 1 : 0;
  const std::string_view marker = std::string_view(digits).substr(prefix, 2);
  const bool marked = (base == 16 && (marker == "0x" || marker == "0X")) ||
                      (base == 8 && (marker == "0o" || marker == "0O")) ||
                      (base == 2 && (marker == "0b" || marker == "0B"));
  if (marked) digits.erase(prefix, 2);
  return read_number<int64_t>(digits, base);
}

Value float_filter(Call& c) {
  c.self.require_defined();
  if (c.self.text()) {
    if (const auto number = read_number<double>(numeral(c))) return Value(*number);
  } else if (const auto number = c.self.as_number()) {
    return Value(static_cast<double>(*number));
  }
  return c.find(0) ? c.value(0) : Value(0.0);
}

// Absent for what is not finite.
std::optional<int64_t> truncate(double value) {
  if (!std::isfinite(value)) return std::nullopt;
  if (std::abs(value) >= 0x1p63) throw TemplateError("an integer does not fit in 64 bits");
  return static_cast<int64_t>(value);
}

Value int_filter(Call& c) {
  c.self.require_defined();
  std::optional<int64_t> whole = c.self.as_integer();
  std::optional<double> number;
  if (c.self.floating()) number = *c.self.floating();
  const int64_t base = c.integer_or(1, 10);
  if (base < 2 || base > 36) throw TemplateError("int: the base must be 2 to 36");
  if (c.self.text()) {
    const std::string digits = numeral(c);
    whole = read_integer(digits, static_cast<int>(base));
    if (!whole) number = read_number<double>(digits);
  }
  if (!whole && number) whole = truncate(*number);
  if (whole) return Value(*whole);
  return c.find(0) ? c.value(0) : Value(int64_t{0});
}

Value default_filter(Call& c) {
  const bool replace = c.self.is_undefined() || (c.is_true(1) && !c.self.truthy());
  if (!replace) return c.self;
  return c.given(0) ? c.value(0) : Value(Text());
}

Value abs_filter(Call& c) {
  c.self.require_defined();
  if (c.self.floating()) return Value(std::abs(*c.self.floating()));
  const Value number = unary_plus(c.self);
  return *number.integer() < 0 ? negate(number) : number;
}

// Python's round(): to the nearest decimal of the exact value, ties to even.
double round_decimal(double value, int64_t precision) {
  if (!std::isfinite(value) || precision > 300) return value;
  if (precision < -300) return std::copysign(0.0, value);
  if (precision >= 0)
    return read_number<double>(fmt::format("{:.{}f}", value, precision)).value_or(value);
  const double scale = std::pow(10.0, static_cast<double>(-precision));
  return std::nearbyint(value / scale) * scale;
}

Value round_filter(Call& c) {
  c.self.require_defined();
  const int64_t precision = c.integer_or(0, 0);
  const std::string method = c.find(1) ? c.text(1).bytes() : "common";
  if (method != "common" && method != "ceil" && method != "floor")
    throw TemplateError("round: the method must be common, ceil or floor");
  const auto number = c.self.as_number();
  if (!number) throw TemplateError(fmt::format("cannot round a {}", c.self.type_name()));
  const bool integral = !c.self.floating();
  if (integral && method == "common" && precision >= 0) return unary_plus(c.self);
  const auto value = static_cast<double>(*number);
  if (method == "common") {
    const double rounded = round_decimal(value, precision);
    const auto whole = integral ? truncate(rounded) : std::nullopt;
    return whole ? Value(*whole) : Value(rounded);
  }
  const double scale = std::pow(10.0, static_cast<double>(precision));
  return Value((method == "ceil" ? std::ceil(value * scale) : std::floor(value * scale)) / scale);
}

// HTML's five characters; unlike Jinja's Markup the result is an ordinary string.
Value escape_filter(Call& c) {
  static constexpr std::string_view kCharacters = "&<>'\"";
  static constexpr std::string_view kEscapes[] = {"&amp;", "&lt;", "&gt;", "&#39;", "&#34;"};
  const Text text = c.self_text();
  TextBuilder builder;
  OriginCursor origin(text);
  for (size_t i = 0; i < text.size(); ++i) {
    const size_t found = kCharacters.find(text.bytes()[i]);
    const std::string_view same = std::string_view(text.bytes()).substr(i, 1);
    builder.append(found == kCharacters.npos ? same : kEscapes[found], origin.trusted(i));
  }
  return c.runtime.string(builder.take());
}

// The lines behind the first by a width or a string; with `first` and `blank` also the first and
// empty ones.
Value indent_filter(Call& c) {
  c.self.require_defined();
  if (!c.self.text()) throw TemplateError("indent needs a string");
  const int64_t width = c.find(0) && c.find(0)->text() ? 0 : c.integer_or(0, 4);
  if (width > static_cast<int64_t>(kMaxOutputBytes))
    throw TemplateError("indent: the width is too large");
  const Text indent =
      c.find(0) && c.find(0)->text()
          ? c.text(0)
          : Text(std::string(static_cast<size_t>(std::max<int64_t>(width, 0)), ' '), true);
  const Text text = c.self_text();
  c.runtime.work(indent.size());
  TextBuilder with_newline;  // splitlines() drops an empty line at the end
  with_newline.append(text);
  with_newline.append("\n", true);
  const Text lines = with_newline.take();
  TextBuilder builder;
  bool first = true;
  for (const ByteRange& line : split_lines(lines.bytes(), false)) {
    c.runtime.work(sizeof(ByteRange));
    if (!first) builder.append("\n", true);
    const bool blank = line.begin == line.end;
    if (first ? c.is_true(1) : c.is_true(2) || !blank) builder.append(indent);
    first = false;
    builder.append(lines, line.begin, line.end);
  }
  return c.runtime.string(builder.take());
}

Value wordcount_filter(Call& c) {
  const Text text = c.self_text();
  int64_t count = 0;
  bool inside = false;
  for (size_t position = 0; position < text.size();) {
    const char32_t code = next_code_point(text.bytes(), position);
    const bool word = is_letter_or_digit(code) || code == U'_';
    count += word && !inside;
    inside = word;
  }
  return Value(count);
}

Value format_filter(Call& c) {
  if (!c.arguments.keyword.empty())
    throw TemplateError("format: keyword arguments are not supported");
  const Value values = c.runtime.sequence(Sequence::Kind::tuple, c.arguments.positional);
  return c.runtime.string(percent_format(c.self_text(), values, c.runtime));
}

constexpr Builtin kFilters[] = {
    {"upper", {}, 0, case_filter<to_upper>},
    {"lower", {}, 0, case_filter<to_lower>},
    {"capitalize", {}, 0, case_filter<to_capitalized>},
    {"title", {}, 0, case_filter<to_title_words>},
    {"string", {}, 0, string_filter},
    {"safe", {}, 0, string_filter},
    {"trim", {"chars"}, 0, trim_filter},
    {"replace", {"old", "new", "count"}, 2, replace_filter},
    {"tojson", {"ensure_ascii", "indent", "separators", "sort_keys"}, 0, tojson_filter},
    {"int", {"default", "base"}, 0, int_filter},
    {"float", {"default"}, 0, float_filter},
    {"default", {"default_value", "boolean"}, 0, default_filter},
    {"d", {"default_value", "boolean"}, 0, default_filter},
    {"abs", {}, 0, abs_filter},
    {"round", {"precision", "method"}, 0, round_filter},
    {"escape", {}, 0, escape_filter},
    {"e", {}, 0, escape_filter},
    {"indent", {"width", "first", "blank"}, 0, indent_filter},
    {"wordcount", {}, 0, wordcount_filter},
    {"format", {"*"}, 0, format_filter},
};

}  // namespace

const Builtin* find_filter(std::string_view name) {
  const Builtin* filter = find_builtin(kFilters, name);
  return filter ? filter : find_sequence_filter(name);
}

}  // namespace dunlin::jinja
