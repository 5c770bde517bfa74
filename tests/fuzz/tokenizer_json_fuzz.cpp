// Any bytes as tokenizer_config.json, as vocab.json, merges.txt and tokenizer_config.json with a zero byte between them,
// and as tokenizer.json: an error, or a tokenizer whose functions work.
#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <string_view>

#include "tokenizer/tokenizer.h"
#include "tokenizer/tokenizer_parts.h"

namespace {

void read_three_files(std::string_view text) {
  std::array<dunlin::NamedText, 3> files;
  for (dunlin::NamedText& file : files) {
    const size_t end = std::min(text.find('\0'), text.size());
    file.text = text.substr(0, end);
    file.origin = "fuzz";
    text.remove_prefix(std::min(end + 1, text.size()));
  }
  static_cast<void>(dunlin::parse_vocab_json(files[0], files[1], files[2]));
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  dunlin::TokenizerParts parts;
  static_cast<void>(dunlin::apply_tokenizer_config(text, "fuzz", parts));
  read_three_files(text);
  const auto tokenizer = dunlin::Tokenizer::from_json_text(text, "fuzz");
  if (!tokenizer.ok()) return 0;
  // The file's own bytes hold its tokens' contents, so that they are found.
  for (const bool parse_special : {false, true}) {
    const auto ids = (*tokenizer)->encode(text, parse_special);
    (*tokenizer)->decode(ids.value(), true);
  }
  return 0;
}
