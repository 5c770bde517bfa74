// Text: a string value that remembers which of its bytes the template itself wrote.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace dunlin::jinja {

// Half-open range of bytes.
struct ByteRange {
  size_t begin = 0;
  size_t end = 0;
};

// Immutable UTF-8 bytes. `trusted` ranges come from the template's literals and its bos/eos
// variables; they are sorted, not empty and do not touch. All other bytes come from inputs or
// cannot be traced.
class Text {
 public:
  Text() = default;
  Text(std::string bytes, bool trusted);

  const std::string& bytes() const { return bytes_; }
  size_t size() const { return bytes_.size(); }
  const std::vector<ByteRange>& trusted() const { return trusted_; }
  // Bytes [begin, end) with their origins.
  Text slice(size_t begin, size_t end) const;

 private:
  friend class TextBuilder;
  std::string bytes_;
  std::vector<ByteRange> trusted_;
};

// Appends pieces and keeps their origins. Every append throws TemplateError beyond kMaxOutputBytes.
class TextBuilder {
 public:
  void append(std::string_view bytes, bool trusted);
  void append(const Text& text) { append(text, 0, text.size()); }
  void append(const Text& text, size_t begin, size_t end);
  size_t size() const { return text_.bytes_.size(); }
  Text take() { return std::move(text_); }

 private:
  void add_trusted(size_t begin, size_t end);
  Text text_;
};

// Walks a text from its start and says for each byte whether it is trusted; positions must not
// decrease.
class OriginCursor {
 public:
  explicit OriginCursor(const Text& text) : ranges_(text.trusted()) {}
  bool trusted(size_t position) {
    while (next_ < ranges_.size() && ranges_[next_].end <= position) ++next_;
    return next_ < ranges_.size() && ranges_[next_].begin <= position;
  }

 private:
  const std::vector<ByteRange>& ranges_;
  size_t next_ = 0;
};

}  // namespace dunlin::jinja
