// One conversion after the other; the format's own bytes keep their origin, as do strings for %s.
#include "tokenizer/jinja/percent_format.h"

#include <fmt/format.h>

#include <cmath>

#include "tokenizer/jinja/print.h"
#include "tokenizer/jinja/runtime.h"
#include "tokenizer/jinja/text_functions.h"

namespace dunlin::jinja {
namespace {

constexpr size_t kMaxWidth = 10'000;

struct Conversion {
  bool left = false;
  bool zeros = false;
  bool plus = false;
  bool space = false;
  size_t width = 0;
  std::optional<size_t> precision;
  char type = '\0';
};

class PercentFormatter {
 public:
  PercentFormatter(const Text& format, const Value& values, Runtime& runtime)
      : format_(format), values_(values), runtime_(runtime) {
    const Sequence* sequence = values.sequence();
    if (sequence && sequence->kind == Sequence::Kind::tuple) tuple_ = sequence;
  }

  Text run() {
    OriginCursor origin(format_);
    while (position_ < format_.size()) {
      const char c = format_.bytes()[position_];
      const bool trusted = origin.trusted(position_);
      ++position_;
      if (c != '%') {
        builder_.append(std::string_view(&c, 1), trusted);
        continue;
      }
      const Conversion conversion = parse();
      if (conversion.type == '%') {
        builder_.append("%", trusted);
      } else {
        write(conversion, next_value());
      }
    }
    const size_t count = tuple_                                 ? tuple_->items.size()
                         : values_.dict() || values_.sequence() ? used_
                                                                : 1;
    if (used_ < count) throw TemplateError("not all arguments converted during string formatting");
    return builder_.take();
  }

 private:
  char peek() const { return position_ < format_.size() ? format_.bytes()[position_] : '\0'; }

  size_t parse_number() {
    size_t number = 0;
    for (; peek() >= '0' && peek() <= '9'; ++position_) {
      number = number * 10 + static_cast<size_t>(peek() - '0');
      if (number > kMaxWidth)
        throw TemplateError("a width or precision of a format is larger than 10000");
    }
    return number;
  }

  Conversion parse() {
    Conversion conversion;
    for (;; ++position_) {
      if (peek() == '-')
        conversion.left = true;
      else if (peek() == '0')
        conversion.zeros = true;
      else if (peek() == '+')
        conversion.plus = true;
      else if (peek() == ' ')
        conversion.space = true;
      else
        break;
    }
    conversion.width = parse_number();
    if (peek() == '.') {
      ++position_;
      conversion.precision = parse_number();
    }
    if (position_ == format_.size()) throw TemplateError("incomplete format");
    conversion.type = format_.bytes()[position_++];
    return conversion;
  }

  const Value& next_value() {
    const size_t index = used_++;
    if (!tuple_ && index == 0) return values_;
    if (!tuple_ || index >= tuple_->items.size())
      throw TemplateError("not enough arguments for format string");
    return tuple_->items[index];
  }

  void write(const Conversion& conversion, const Value& value) {
    runtime_.step();
    switch (conversion.type) {
      case 's':
        return write_text(conversion, to_text(value, runtime_));
      case 'r':
        return write_text(conversion, Text(to_repr(value, runtime_), false));
      case 'd':
      case 'i':
      case 'x':
      case 'f':
        return write_number(conversion, value);
      default:
        throw TemplateError(fmt::format("unsupported format character '{}'", conversion.type));
    }
  }

  void pad(size_t count, char c) { builder_.append(std::string(count, c), false); }

  void write_text(const Conversion& conversion, const Text& text) {
    const size_t end =
        conversion.precision ? byte_offset(text.bytes(), *conversion.precision) : text.size();
    const size_t length = count_code_points(std::string_view(text.bytes()).substr(0, end));
    const size_t padding = conversion.width > length ? conversion.width - length : 0;
    if (!conversion.left) pad(padding, ' ');
    builder_.append(text, 0, end);
    if (conversion.left) pad(padding, ' ');
  }

  static int64_t integer(const Value& value) {
    if (const auto whole = value.as_integer()) return *whole;
    if (value.floating() && std::abs(*value.floating()) < 0x1p63)
      return static_cast<int64_t>(*value.floating());
    throw TemplateError(fmt::format("a number is required, not {}", value.type_name()));
  }

  // The digits without a sign, and whether the number is negative.
  static std::pair<std::string, bool> digits(const Conversion& conversion, const Value& value) {
    if (conversion.type == 'f') {
      const double number =
          value.floating() ? *value.floating() : static_cast<double>(integer(value));
      return {fmt::format("{:.{}f}", std::abs(number), conversion.precision.value_or(6)),
              std::signbit(number)};
    }
    if (conversion.type == 'x' && value.floating())
      throw TemplateError("%x format: an integer is required");
    const int64_t number = integer(value);
    const uint64_t magnitude =
        number < 0 ? uint64_t{0} - static_cast<uint64_t>(number) : static_cast<uint64_t>(number);
    std::string text =
        conversion.type == 'x' ? fmt::format("{:x}", magnitude) : fmt::format("{}", magnitude);
    const size_t least = conversion.precision.value_or(0);
    if (text.size() < least) text.insert(0, least - text.size(), '0');
    return {std::move(text), number < 0};
  }

  void write_number(const Conversion& conversion, const Value& value) {
    value.require_defined();
    const auto [text, negative] = digits(conversion, value);
    const std::string sign = negative ? "-" : conversion.plus ? "+" : conversion.space ? " " : "";
    const size_t length = sign.size() + text.size();
    const size_t padding = conversion.width > length ? conversion.width - length : 0;
    const bool zeros = conversion.zeros && !conversion.left;
    if (!conversion.left && !zeros) pad(padding, ' ');
    builder_.append(sign, false);
    if (zeros) pad(padding, '0');
    builder_.append(text, false);
    if (conversion.left) pad(padding, ' ');
  }

  const Text& format_;
  const Value& values_;
  Runtime& runtime_;
  const Sequence* tuple_ = nullptr;
  TextBuilder builder_;
  size_t position_ = 0;
  size_t used_ = 0;
};

}  // namespace

Text percent_format(const Text& format, const Value& values, Runtime& runtime) {
  runtime.work(format.size());
  return PercentFormatter(format, values, runtime).run();
}

}  // namespace dunlin::jinja
