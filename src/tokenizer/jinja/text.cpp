// Text and its builder.
#include "tokenizer/jinja/text.h"

#include <algorithm>
#include <utility>

#include "tokenizer/jinja/limits.h"
#include "tokenizer/jinja/template_error.h"

namespace dunlin::jinja {

Text::Text(std::string bytes, bool trusted) : bytes_(std::move(bytes)) {
  if (trusted && !bytes_.empty()) trusted_.push_back({0, bytes_.size()});
}

Text Text::slice(size_t begin, size_t end) const {
  TextBuilder builder;
  builder.append(*this, begin, end);
  return builder.take();
}

void TextBuilder::append(std::string_view bytes, bool trusted) {
  const size_t begin = size();
  if (bytes.size() > kMaxOutputBytes - begin) {
    throw TemplateError("a string or the output is larger than 8 MiB");
  }
  text_.bytes_.append(bytes);
  if (trusted) add_trusted(begin, size());
}

void TextBuilder::append(const Text& text, size_t begin, size_t end) {
  const size_t start = size();
  append(std::string_view(text.bytes()).substr(begin, end - begin), false);
  const auto& ranges = text.trusted();
  auto range =
      std::lower_bound(ranges.begin(), ranges.end(), begin,
                       [](const ByteRange& r, size_t position) { return r.end <= position; });
  for (; range != ranges.end() && range->begin < end; ++range) {
    add_trusted(start + std::max(range->begin, begin) - begin,
                start + std::min(range->end, end) - begin);
  }
}

void TextBuilder::add_trusted(size_t begin, size_t end) {
  if (begin == end) return;
  auto& ranges = text_.trusted_;
  if (!ranges.empty() && ranges.back().end == begin) {
    ranges.back().end = end;
  } else {
    ranges.push_back({begin, end});
  }
}

}  // namespace dunlin::jinja
