// Text and tags as in Jinja2's documentation of whitespace control, with trim_blocks and
// lstrip_blocks.
#include "tokenizer/jinja/lexer.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>

#include "tokenizer/jinja/limits.h"
#include "tokenizer/jinja/text_functions.h"

namespace dunlin::jinja {
namespace {

bool is_digit(char c) {
  return c >= '0' && c <= '9';
}
bool is_name_char(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_' || is_digit(c);
}
bool is_sign(char c) {
  return c == '-' || c == '+';
}

// \n as the only line end, and none at the end.
std::string normalize_newlines(const std::string& source) {
  std::string out;
  for (size_t i = 0; i < source.size(); ++i) {
    out.push_back(source[i] == '\r' ? '\n' : source[i]);
    if (source[i] == '\r' && i + 1 < source.size() && source[i + 1] == '\n') ++i;
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
  explicit Lexer(const std::string& source) : source_(source) {}
  std::vector<Token> run();

 private:
  bool at(std::string_view text) const { return view().substr(position_, text.size()) == text; }
  char peek(size_t ahead = 0) const {
    return position_ + ahead < source_.size() ? source_[position_ + ahead] : '\0';
  }
  std::string_view view() const { return source_; }
  void advance(size_t count);
  void skip_space();
  // Moves past the characters for which `belongs` holds, and returns them.
  template <typename Belongs>
  std::string take_while(Belongs belongs);
  void push(Token::Kind kind, std::string text) {
    tokens_.push_back({kind, start_, std::move(text)});
  }
  [[noreturn]] void fail(const std::string& what) const { throw LocatedError(start_, what); }

  size_t find_tag() const;
  void push_data(size_t end, char sign, bool variable);
  void lex_comment();
  bool skip_raw_begin();
  void lex_raw();
  void lex_tag(bool variable);
  bool lex_tag_end(bool variable);
  void lex_name();
  std::string take_digits();
  void lex_number();
  void lex_string();
  bool lex_escape(std::string& text);
  void lex_symbol();
  void end_tag(char sign, bool trims_newline);

  const std::string& source_;
  size_t position_ = 0;
  Position at_;
  Position start_;  // of the tag, comment or token that is being read
  bool line_starting_ =
      true;  // the last tag ended with a newline: whitespace before the next one may be stripped
  std::string brackets_;  // the closing brackets that an expression still needs
  std::vector<Token> tokens_;
};

void Lexer::advance(size_t count) {
  for (const size_t end = position_ + count; position_ < end; ++position_) {
    if (source_[position_] == '\n') {
      at_ = {at_.line + 1, 1};
    } else {
      ++at_.column;
    }
  }
}

void Lexer::skip_space() {
  while (position_ < source_.size()) {
    size_t next = position_;
    if (!is_space(next_code_point(source_, next))) return;
    advance(next - position_);
  }
}

template <typename Belongs>
std::string Lexer::take_while(Belongs belongs) {
  const size_t begin = position_;
  while (position_ < source_.size() && belongs(source_[position_])) advance(1);
  return source_.substr(begin, position_ - begin);
}

// Where the next {{, {% or {# begins.
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
  start_ = at_;
  if (!text.empty()) push(Token::Kind::data, std::string(text));
  advance(end - position_);
  start_ = at_;
}

// Behind a tag's end: strips what its sign or trim_blocks says.
void Lexer::end_tag(char sign, bool trims_newline) {
  if (sign == '-') {
    skip_space();
  } else if (trims_newline && sign != '+' && peek() == '\n') {
    advance(1);
  }
  line_starting_ = source_[position_ - 1] == '\n';
}

// Behind "{#" and its sign, to behind "#}".
void Lexer::lex_comment() {
  const size_t close = source_.find("#}", position_);
  if (close == source_.npos) fail("a comment has no end");
  const char sign = close > position_ ? source_[close - 1] : '\0';
  advance(close + 2 - position_);
  end_tag(sign, true);
}

// Behind "{%" and its sign: when this is a raw tag, moves behind it.
bool Lexer::skip_raw_begin() {
  const size_t start = position_;
  const Position before = at_;
  skip_space();
  const bool raw = at("raw");
  if (raw) advance(3);
  skip_space();
  const char sign = peek() == '-' ? '-' : '\0';
  if (raw && (sign ? at("-%}") : at("%}"))) {
    advance(sign ? 3 : 2);
    end_tag(sign, false);
    return true;
  }
  position_ = start;
  at_ = before;
  return false;
}

// Inside a raw block, to behind its endraw tag.
void Lexer::lex_raw() {
  const size_t begin = position_;
  const Position before = at_;
  for (size_t tag = source_.find("{%", begin); tag != source_.npos;
       tag = source_.find("{%", tag + 2)) {
    position_ = tag + 2;
    const char sign = is_sign(peek()) ? peek() : '\0';
    if (sign) advance(1);
    skip_space();
    if (!at("endraw")) continue;
    advance(6);
    skip_space();
    const size_t end = position_;
    if (!at("%}") && !(is_sign(peek()) && peek(1) == '%' && peek(2) == '}')) continue;
    position_ = begin;
    at_ = before;
    push_data(tag, sign, false);
    advance(end - position_);
    lex_tag_end(false);
    return;
  }
  fail("a raw block has no endraw");
}

// At the end of a tag: moves behind it and the whitespace it strips. False when this is not the
// end.
bool Lexer::lex_tag_end(bool variable) {
  const char sign = is_sign(peek()) ? peek() : '\0';
  const char close = variable ? '}' : '%';
  if (variable && sign == '+') return false;
  if (peek(sign ? 1 : 0) != close || peek(sign ? 2 : 1) != '}') return false;
  advance(sign ? 3 : 2);
  end_tag(sign, !variable);
  return true;
}

void Lexer::lex_tag(bool variable) {
  push(variable ? Token::Kind::variable_begin : Token::Kind::block_begin, "");
  brackets_.clear();
  for (skip_space(); position_ < source_.size(); skip_space()) {
    start_ = at_;
    if (brackets_.empty() && lex_tag_end(variable)) {
      push(variable ? Token::Kind::variable_end : Token::Kind::block_end, "");
      return;
    }
    if (is_digit(peek())) {
      lex_number();
    } else if (is_name_char(peek())) {
      lex_name();
    } else if (peek() == '"' || peek() == '\'') {
      lex_string();
    } else {
      lex_symbol();
    }
  }
}

void Lexer::lex_name() {
  std::string name = take_while(is_name_char);
  if (name.size() > kMaxNameBytes) fail("a name is longer than 1000 characters");
  push(Token::Kind::name, std::move(name));
}

// Digits, without the underscores between them.
std::string Lexer::take_digits() {
  std::string digits = take_while(is_digit);
  while (peek() == '_' && is_digit(peek(1))) {
    advance(1);
    digits += take_while(is_digit);
  }
  return digits;
}

// Decimal integers and floats. A float does not begin behind a dot, as in `items.0.1`.
void Lexer::lex_number() {
  const bool behind_dot = position_ > 0 && source_[position_ - 1] == '.';
  std::string number = take_digits();
  if (number.size() > 1 && number[0] == '0') fail("a number begins with 0");
  const size_t whole = number.size();
  if (!behind_dot && peek() == '.' && is_digit(peek(1))) {
    advance(1);
    number += '.' + take_digits();
  }
  const bool exponent = peek() == 'e' || peek() == 'E';
  if (!behind_dot && exponent && is_digit(peek(is_sign(peek(1)) ? 2 : 1))) {
    number += 'e';
    advance(1);
    if (is_sign(peek())) number += take_while(is_sign)[0];
    number += take_digits();
  }
  push(number.size() > whole ? Token::Kind::floating : Token::Kind::integer, number);
}

void Lexer::lex_string() {
  const char quote = peek();
  std::string text;
  advance(1);
  while (position_ < source_.size() && peek() != quote) {
    if (peek() == '\\') {
      if (!lex_escape(text)) fail("a string holds an escape sequence that is not valid here");
    } else {
      text.push_back(peek());
      advance(1);
    }
  }
  if (position_ == source_.size()) fail("a string has no closing quote");
  advance(1);
  push(Token::Kind::string, std::move(text));
}

// At a backslash (Python reference, section 2.4.1); an unknown escape stays as written. False when it is
// cut short, is no code point, or is \N{name}.
bool Lexer::lex_escape(std::string& text) {
  static constexpr std::string_view kNames = "\\'\"abfnrtv\n";
  static constexpr std::string_view kValues = "\\'\"\a\b\f\n\r\t\v";
  const char c = peek(1);
  if (position_ + 1 == source_.size() || c == 'N') return false;
  advance(2);
  if (const size_t name = kNames.find(c); name != kNames.npos) {
    if (c != '\n') text.push_back(kValues[name]);
    return true;
  }
  const bool octal = c >= '0' && c <= '7';
  const size_t digits = c == 'x' ? 2 : c == 'u' ? 4 : c == 'U' ? 8 : octal ? 3 : 0;
  if (digits == 0) {
    text += {'\\', c};
    return true;
  }
  const size_t first = position_ - (octal ? 1 : 0);
  const std::string_view rest = view().substr(first, digits);
  uint32_t code = 0;
  const auto parsed = std::from_chars(rest.data(), rest.data() + rest.size(), code, octal ? 8 : 16);
  const auto length = static_cast<size_t>(parsed.ptr - rest.data());
  const bool scalar = code <= 0x10FFFF && (code < 0xD800 || code > 0xDFFF);
  if ((!octal && length != digits) || !scalar) return false;
  advance(first + length - position_);
  append_utf8(code, text);
  return true;
}

void Lexer::lex_symbol() {
  static constexpr std::string_view kShort = "+-/*%~[](){}><=.:|,;";
  size_t length = kShort.find(peek()) != kShort.npos ? 1 : 0;
  for (const std::string_view symbol : {"//", "**", "==", "!=", ">=", "<="}) {
    if (at(symbol)) length = 2;
  }
  if (length == 0) {
    size_t next = position_;
    next_code_point(source_, next);
    fail(fmt::format("unexpected character '{}'", source_.substr(position_, next - position_)));
  }
  const char c = peek();
  if (c == '(' || c == '[' || c == '{') brackets_.push_back(c == '(' ? ')' : c == '[' ? ']' : '}');
  if (c == ')' || c == ']' || c == '}') {
    if (brackets_.empty()) fail(fmt::format("unexpected '{}'", c));
    if (brackets_.back() != c)
      fail(fmt::format("unexpected '{}', expected '{}'", c, brackets_.back()));
    brackets_.pop_back();
  }
  push(Token::Kind::symbol, source_.substr(position_, length));
  advance(length);
}

std::vector<Token> Lexer::run() {
  for (size_t tag = find_tag(); tag != source_.npos; tag = find_tag()) {
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
  push_data(source_.size(), '+', true);
  push(Token::Kind::end, "");
  return std::move(tokens_);
}

}  // namespace

std::vector<Token> tokenize_template(const std::string& source) {
  return Lexer(normalize_newlines(source)).run();
}

}  // namespace dunlin::jinja
