// JsonCursor: reads a JSON text (RFC 8259) from its start to its end without building anything, for the
// parts of a file that are too large for a document. Every function leaves the cursor behind what it
// read; errors say at which byte the text is not JSON.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "base/result.h"

namespace dunlin {

// Bounds on what a hostile file can make of its bytes.
inline constexpr size_t kMaxJsonDepth = 64;
inline constexpr size_t kMaxJsonValues = size_t{1} << 20;  // skipped ones, of a whole text

class JsonCursor {
 public:
  // `text` must be valid UTF-8 and outlive the cursor.
  explicit JsonCursor(std::string_view text) : text_(text) {}

  // The first character of what comes next, whitespace left out; 0 at the end of the text.
  char peek();

  // The value of a string, valid until the next call.
  Result<std::string_view> string();
  // A number of 64 bits without a fraction or exponent.
  Result<int64_t> integer();
  // That what comes next is not expected where it stands.
  Error unexpected();
  // The text of any value, found by its brackets and strings: still to be parsed by who takes it. Errors
  // beyond kMaxJsonDepth and kMaxJsonValues.
  Result<std::string_view> skip_value();
  // Where skip_value's last text begins.
  size_t skipped_at() const { return skipped_at_; }

  // Reads `open item , item ... close`; `item` reads one and returns Result<void>. With braces each item
  // is a key, the colon and the value; `item` reads the key with string(), then calls colon().
  template <typename Item>
  Result<void> list(char open, char close, Item item) {
    DUNLIN_RETURN_IF_ERROR(expect(open));
    if (skip(close)) return {};
    do {
      DUNLIN_RETURN_IF_ERROR(item());
    } while (skip(','));
    return expect(close);
  }
  Result<void> colon() { return expect(':'); }
  // Nothing but whitespace may be left.
  Result<void> end();

 private:
  Error not_json() const;
  std::string_view describe_next();
  bool skip(char c);
  Result<void> expect(char c);
  Result<void> skip_string();
  Result<void> append_escape();
  Result<uint32_t> hexadecimal();

  std::string_view text_;
  size_t at_ = 0;
  size_t skipped_at_ = 0;
  size_t values_ = 0;
  std::string unescaped_;
};

}  // namespace dunlin
