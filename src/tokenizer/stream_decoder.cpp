#include "tokenizer/stream_decoder.h"

#include <algorithm>
#include <utility>

#include "tokenizer/utf8.h"

namespace dunlin {
namespace {

// Length of a truncated sequence at the end of `bytes`, 0 when there is none.
size_t truncated_suffix(std::string_view bytes) noexcept {
  for (size_t length = 1; length <= std::min<size_t>(3, bytes.size()); ++length) {
    const std::string_view suffix = bytes.substr(bytes.size() - length);
    const bool continuation = (static_cast<unsigned char>(suffix[0]) & 0xC0) == 0x80;
    if (!continuation)
      return first_utf8_sequence(suffix).kind == Utf8Sequence::Kind::truncated ? length : 0;
  }
  return 0;
}

}  // namespace

std::string StreamDecoder::feed(int32_t id) {
  if (skip_special_ && tokenizer_->is_special(id)) return {};
  held_back_ += tokenizer_->token_bytes(id);
  const size_t certain = held_back_.size() - truncated_suffix(held_back_);
  std::string text;
  append_valid_utf8(std::string_view(held_back_).substr(0, certain), text);
  held_back_.erase(0, certain);
  return text;
}

std::string StreamDecoder::flush() {
  std::string text;
  append_valid_utf8(std::exchange(held_back_, {}), text);
  return text;
}

}  // namespace dunlin
