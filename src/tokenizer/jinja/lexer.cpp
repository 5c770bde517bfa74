// The lexer: text and tags as in Jinja2's documentation of whitespace control, with trim_blocks and
// lstrip_blocks.
#include <fmt/format.h>

#include <algorithm>
#include <optional>
#include <string_view>

#include "tokenizer/jinja/string_literal.h"
#include "tokenizer/jinja/template_error.h"
#include "tokenizer/jinja/token.h"
#include "tokenizer/jinja/unicode.h"

namespace dunlin::jinja {
namespace {

bool is_digit(char c) {
  return c >= '0' && c <= '9';
}
bool is_name_start(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_';
}
bool is_name_char(char c) {
  return is_name_start(c) || is_digit(c);
}
bool is_sign(char c) {
  return c == '-' || c == '+';
}

std::string normalize_newlines(const std::string& source) {
  std::string out;
  out.reserve(source.size());
  for (size_t i = 0; i < source.size(); ++i) {
    if (source[i] == '\r') {
      out.push_back('\n');
      if (i + 1 < source.size() && source[i + 1] == '\n') ++i;
    } else {
      out.push_back(source[i]);
    }
  }
  if (!out.empty() && out.back() == '\n') out.pop_back();
  return out;
}

// `text` without the whitespace at its end.
std::string_view strip_right(std::string_view text) {
  size_t end = 0;
  for (size_t position = 0; position < text.size();) {
    if (!is_space(next_code_point(text, position))) end = position;
  }
  return text.substr(0, end);
}

class Lexer {
 public:
  explicit Lexer(std::string source) : source_(std::move(source)) {}
  std::vector<Token> run();

 private:
  bool at(std::string_view text) const { return view().substr(position_, text.size()) == text; }
  char peek(size_t ahead = 0) const {
    return position_ + ahead < source_.size() ? source_[position_ + ahead] : '\0';
  }
  std::string_view view() const { return source_; }
  void advance(size_t count);
  size_t space_end(size_t from) const;  // behind the whitespace at `from`
  void skip_space() { advance(space_end(position_) - position_); }
  void push(Token::Kind kind, std::string text, int line) {
    tokens_.push_back({kind, line, std::move(text)});
  }
  [[noreturn]] void fail(const std::string& what) const { throw LocatedError(line_, what); }

  size_t find_tag() const;
  void push_data(size_t end, char sign, bool variable);
  void lex_comment();
  bool skip_raw_begin();
  void lex_raw();
  void lex_tag(bool variable);
  bool lex_tag_end(bool variable);
  void lex_word();
  void lex_number();
  size_t digits_end(size_t from) const;
  void lex_string();
  void lex_symbol();
  void close_bracket(char c);

  std::string source_;
  size_t position_ = 0;
  int line_ = 1;
  bool line_starting_ =
      true;  // the last tag ended with a newline: whitespace before the next one may be stripped
  std::string brackets_;  // the closing brackets that an expression still needs
  std::vector<Token> tokens_;
};

void Lexer::advance(size_t count) {
  for (size_t i = 0; i < count; ++i) line_ += source_[position_ + i] == '\n';
  position_ += count;
}

size_t Lexer::space_end(size_t from) const {
  size_t end = from;
  for (size_t next = end; next < source_.size() && is_space(next_code_point(source_, next));)
    end = next;
  return end;
}

size_t Lexer::find_tag() const {
  for (size_t brace = source_.find('{', position_); brace != source_.npos;
       brace = source_.find('{', brace + 1)) {
    const char next = brace + 1 < source_.size() ? source_[brace + 1] : '\0';
    if (next == '{' || next == '%' || next == '#') return brace;
  }
  return source_.npos;
}

// The text up to `end`, without the whitespace that the tag at `end` strips.
void Lexer::push_data(size_t end, char sign, bool variable) {
  std::string_view text = view().substr(position_, end - position_);
  if (sign == '-') {
    text = strip_right(text);
  } else if (sign != '+' && !variable) {
    const size_t newline = text.rfind('\n');
    const size_t last_line = newline == text.npos ? 0 : newline + 1;
    const bool blank = strip_right(text.substr(last_line)).empty();
    if ((last_line > 0 || line_starting_) && blank) text = text.substr(0, last_line);
  }
  if (!text.empty()) push(Token::Kind::data, std::string(text), line_);
  advance(end - position_);
}

// Behind "{#" and its sign, to behind "#}".
void Lexer::lex_comment() {
  const size_t begin = position_;
  const size_t close = source_.find("#}", begin);
  if (close == source_.npos) fail("a comment has no end");
  const char sign = close > begin ? source_[close - 1] : '\0';
  advance(close + 2 - position_);
  if (sign == '-') {
    skip_space();
  } else if (sign != '+' && peek() == '\n') {
    advance(1);
  }
  line_starting_ = source_[position_ - 1] == '\n';
}

// Behind "{%" and its sign: when this is a raw tag, moves behind it.
bool Lexer::skip_raw_begin() {
  const size_t start = position_;
  const int line = line_;
  skip_space();
  if (at("raw")) {
    advance(3);
    skip_space();
    const bool strip = at("-%}");
    if (strip || at("%}")) {
      advance(strip ? 3 : 2);
      if (strip) skip_space();
      line_starting_ = source_[position_ - 1] == '\n';
      return true;
    }
  }
  position_ = start;
  line_ = line;
  return false;
}

// Inside a raw block, to behind its endraw tag.
void Lexer::lex_raw() {
  for (size_t tag = source_.find("{%", position_); tag != source_.npos;
       tag = source_.find("{%", tag + 2)) {
    size_t next = tag + 2;
    const char sign = next < source_.size() && is_sign(source_[next]) ? source_[next] : '\0';
    next = space_end(next + (sign ? 1 : 0));
    if (view().substr(std::min(next, source_.size()), 6) != "endraw") continue;
    next = space_end(next + 6);
    const size_t close = next + (next < source_.size() && is_sign(source_[next]) ? 1 : 0);
    if (view().substr(std::min(close, source_.size()), 2) != "%}") continue;
    push_data(tag, sign, false);
    advance(next - position_);
    lex_tag_end(false);
    return;
  }
  fail("a raw block has no endraw");
}

// At the end of a tag: moves behind it and the whitespace it strips. False when this is not the
// end.
bool Lexer::lex_tag_end(bool variable) {
  const std::string_view close = variable ? "}}" : "%}";
  const char sign = is_sign(peek()) ? peek() : '\0';
  if (variable && sign == '+') return false;
  if (view().substr(std::min(position_ + (sign ? 1 : 0), source_.size()), 2) != close) return false;
  advance(sign ? 3 : 2);
  if (sign == '-') {
    skip_space();
  } else if (!variable && sign != '+' && peek() == '\n') {
    advance(1);
  }
  line_starting_ = source_[position_ - 1] == '\n';
  return true;
}

void Lexer::lex_tag(bool variable) {
  push(variable ? Token::Kind::variable_begin : Token::Kind::block_begin, "", line_);
  brackets_.clear();
  while (position_ < source_.size()) {
    const int line = line_;
    if (brackets_.empty() && lex_tag_end(variable)) {
      push(variable ? Token::Kind::variable_end : Token::Kind::block_end, "", line);
      return;
    }
    const size_t before = position_;
    skip_space();
    if (position_ != before) continue;
    if (is_digit(peek())) {
      lex_number();
    } else if (is_name_start(peek())) {
      lex_word();
    } else if (peek() == '"' || peek() == '\'') {
      lex_string();
    } else {
      lex_symbol();
    }
  }
}

void Lexer::lex_word() {
  size_t end = position_;
  while (end < source_.size() && is_name_char(source_[end])) ++end;
  push(Token::Kind::name, source_.substr(position_, end - position_), line_);
  advance(end - position_);
}

// Behind the digits from `from` on, which may be separated by single underscores; `from` when there
// are none.
size_t Lexer::digits_end(size_t from) const {
  size_t end = from;
  while (end < source_.size() && is_digit(source_[end])) {
    ++end;
    if (end + 1 < source_.size() && source_[end] == '_' && is_digit(source_[end + 1])) ++end;
  }
  return end;
}

// Decimal integers and floats. A float does not begin behind a dot, as in `items.0.1`.
void Lexer::lex_number() {
  const size_t whole = digits_end(position_);
  size_t end = whole;
  if (position_ == 0 || source_[position_ - 1] != '.') {
    if (end < source_.size() && source_[end] == '.' && digits_end(end + 1) > end + 1)
      end = digits_end(end + 1);
    if (end < source_.size() && (source_[end] == 'e' || source_[end] == 'E')) {
      const size_t exponent =
          end + 1 + (end + 1 < source_.size() && is_sign(source_[end + 1]) ? 1 : 0);
      if (digits_end(exponent) > exponent) end = digits_end(exponent);
    }
  }
  std::string digits;
  for (char c : source_.substr(position_, end - position_)) {
    if (c != '_') digits.push_back(c);
  }
  const bool floating = end > whole;
  if (!floating && digits[0] == '0' && digits.find_first_not_of('0') != digits.npos) {
    fail("a number begins with 0");
  }
  push(floating ? Token::Kind::floating : Token::Kind::integer, std::move(digits), line_);
  advance(end - position_);
}

void Lexer::lex_string() {
  const char quote = peek();
  size_t end = position_ + 1;
  while (end < source_.size() && source_[end] != quote) end += source_[end] == '\\' ? 2 : 1;
  if (end >= source_.size()) fail("a string has no closing quote");
  const auto value = unescape_string(view().substr(position_ + 1, end - position_ - 1));
  if (!value) fail("a string holds an escape sequence that is not valid here");
  push(Token::Kind::string, *value, line_);
  advance(end + 1 - position_);
}

void Lexer::lex_symbol() {
  static constexpr std::string_view kLong[] = {"//", "**", "==", "!=", ">=", "<="};
  static constexpr std::string_view kShort = "+-/*%~[](){}><=.:|,;";
  size_t length = 0;
  for (std::string_view symbol : kLong) {
    if (at(symbol)) length = 2;
  }
  if (length == 0 && kShort.find(peek()) != kShort.npos) length = 1;
  if (length == 0) {
    size_t next = position_;
    next_code_point(source_, next);
    fail(fmt::format("unexpected character '{}'", source_.substr(position_, next - position_)));
  }
  const std::string symbol = source_.substr(position_, length);
  if (symbol == "(") brackets_.push_back(')');
  if (symbol == "[") brackets_.push_back(']');
  if (symbol == "{") brackets_.push_back('}');
  if (symbol == ")" || symbol == "]" || symbol == "}") close_bracket(symbol[0]);
  push(Token::Kind::symbol, symbol, line_);
  advance(length);
}

void Lexer::close_bracket(char c) {
  if (brackets_.empty()) fail(fmt::format("unexpected '{}'", c));
  if (brackets_.back() != c)
    fail(fmt::format("unexpected '{}', expected '{}'", c, brackets_.back()));
  brackets_.pop_back();
}

std::vector<Token> Lexer::run() {
  while (position_ < source_.size()) {
    const size_t tag = find_tag();
    if (tag == source_.npos) {
      push(Token::Kind::data, source_.substr(position_), line_);
      advance(source_.size() - position_);
      break;
    }
    const char type = source_[tag + 1];
    const char after = tag + 2 < source_.size() ? source_[tag + 2] : '\0';
    const char sign = is_sign(after) ? after : '\0';
    push_data(tag, sign, type == '{');
    advance(sign ? 3 : 2);
    if (type == '#') {
      lex_comment();
    } else if (type == '%' && skip_raw_begin()) {
      lex_raw();
    } else {
      lex_tag(type == '{');
    }
  }
  push(Token::Kind::end, "", line_);
  return std::move(tokens_);
}

}  // namespace

std::vector<Token> tokenize_template(const std::string& source) {
  return Lexer(normalize_newlines(source)).run();
}

}  // namespace dunlin::jinja
