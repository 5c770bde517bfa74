#include "tokenizer/json_cursor.h"

#include <fmt/format.h>

#include <charconv>

#include "tokenizer/utf8.h"

namespace dunlin {

Error JsonCursor::not_json() const {
  return model_error(fmt::format("not valid JSON at byte {}", at_ + 1));
}

char JsonCursor::peek() {
  while (at_ < text_.size() &&
         (text_[at_] == ' ' || text_[at_] == '\n' || text_[at_] == '\r' || text_[at_] == '\t')) {
    ++at_;
  }
  return at_ < text_.size() ? text_[at_] : '\0';
}

bool JsonCursor::skip(char c) {
  const bool found = peek() == c;
  if (found) ++at_;
  return found;
}

Result<void> JsonCursor::expect(char c) {
  if (!skip(c)) return not_json();
  return {};
}

Result<void> JsonCursor::end() {
  if (peek() != '\0' || at_ != text_.size()) return not_json();
  return {};
}

std::string_view JsonCursor::describe_next() {
  switch (peek()) {
    case '"':
      return "a string";
    case '{':
      return "an object";
    case '[':
      return "an array";
    case 't':
    case 'f':
      return "a boolean";
    case 'n':
      return "null";
    default:
      break;
  }
  const size_t end = text_.find_first_not_of("-+0123456789.eE", at_);
  const std::string_view number = text_.substr(at_, end == text_.npos ? end : end - at_);
  return number.find_first_of(".eE") == number.npos ? "a number" : "a fraction";
}

Result<std::string_view> JsonCursor::string() {
  DUNLIN_RETURN_IF_ERROR(expect('"'));
  unescaped_.clear();
  for (size_t begin = at_; at_ < text_.size(); ++at_) {
    const auto c = static_cast<unsigned char>(text_[at_]);
    if (c == '"') {
      const std::string_view rest = text_.substr(begin, at_++ - begin);
      if (unescaped_.empty()) return rest;
      unescaped_ += rest;
      return std::string_view(unescaped_);
    }
    if (c < 0x20) break;
    if (c != '\\') continue;
    unescaped_ += text_.substr(begin, at_ - begin);
    DUNLIN_RETURN_IF_ERROR(append_escape());
    begin = at_ + 1;
  }
  return not_json();
}

// At a backslash; leaves the cursor on the escape's last character.
Result<void> JsonCursor::append_escape() {
  static constexpr std::string_view kNames = "\"\\/bfnrt";
  static constexpr std::string_view kValues = "\"\\/\b\f\n\r\t";
  if (++at_ == text_.size()) return not_json();
  if (const size_t name = kNames.find(text_[at_]); name != kNames.npos) {
    unescaped_ += kValues[name];
    return {};
  }
  if (text_[at_] != 'u') return not_json();
  DUNLIN_ASSIGN_OR_RETURN(uint32_t c, hexadecimal());
  if (c >= 0xD800 && c <= 0xDBFF && text_.substr(at_ + 1, 2) == "\\u") {
    at_ += 2;
    DUNLIN_ASSIGN_OR_RETURN(const uint32_t low, hexadecimal());
    if (low < 0xDC00 || low > 0xDFFF) return not_json();
    c = 0x10000 + ((c - 0xD800) << 10) + (low - 0xDC00);
  }
  if (c >= 0xD800 && c <= 0xDFFF) return not_json();  // half a pair
  append_utf8(c, unescaped_);
  return {};
}

// Four digits behind the cursor, which moves to the last of them.
Result<uint32_t> JsonCursor::hexadecimal() {
  const std::string_view digits = text_.substr(at_ + 1, 4);
  uint32_t value = 0;
  const auto parsed = std::from_chars(digits.data(), digits.data() + digits.size(), value, 16);
  if (digits.size() != 4 || parsed.ec != std::errc() || parsed.ptr != digits.data() + 4)
    return not_json();
  at_ += 4;
  return value;
}

Error JsonCursor::unexpected() {
  return model_error(fmt::format("{} is not expected there", describe_next()));
}

Result<int64_t> JsonCursor::integer() {
  const char first = peek();
  if (first != '-' && (first < '0' || first > '9')) return unexpected();
  int64_t value = 0;
  const char* begin = text_.data() + at_;
  const char* text_end = text_.data() + text_.size();
  const auto [end, code] = std::from_chars(begin, text_end, value);
  if (end != text_end && (*end == '.' || *end == 'e' || *end == 'E')) return unexpected();
  const auto length = static_cast<size_t>(end - begin);
  if (code == std::errc::result_out_of_range) {
    return model_error(fmt::format("the number {} is too large", std::string_view(begin, length)));
  }
  if (code != std::errc()) return not_json();
  at_ += length;
  return value;
}

Result<void> JsonCursor::skip_string() {
  DUNLIN_RETURN_IF_ERROR(expect('"'));
  while (at_ < text_.size() && text_[at_] != '"') at_ += text_[at_] == '\\' ? 2 : 1;
  if (at_ >= text_.size()) {
    at_ = text_.size();
    return not_json();
  }
  ++at_;
  return {};
}

Result<std::string_view> JsonCursor::skip_value() {
  size_t depth = 0;
  peek();
  const size_t begin = at_;
  skipped_at_ = begin;
  do {
    const char c = peek();
    if (c == '\0') return not_json();
    if (c == '"') {
      DUNLIN_RETURN_IF_ERROR(skip_string());
    } else if (c == '{' || c == '[') {
      ++at_;
      if (++depth > kMaxJsonDepth)
        return model_error(fmt::format("nested deeper than {} levels", kMaxJsonDepth));
    } else if (c == '}' || c == ']') {
      if (depth == 0) return not_json();
      ++at_;
      --depth;
      continue;
    } else if (c == ',' || c == ':') {
      if (depth == 0) return not_json();
      ++at_;
      continue;
    } else {
      const size_t end = text_.find_first_of(" \t\r\n,:]}[{\"", at_);
      at_ = end == text_.npos ? text_.size() : end;
    }
    if (++values_ > kMaxJsonValues)
      return model_error(fmt::format("more than {} values", kMaxJsonValues));
  } while (depth > 0);
  return text_.substr(begin, at_ - begin);
}

}  // namespace dunlin
