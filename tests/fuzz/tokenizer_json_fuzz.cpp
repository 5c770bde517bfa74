// Any bytes as tokenizer_config.json, and as tokenizer.json: an error, or a tokenizer whose functions work.
#include <string_view>

#include "tokenizer/tokenizer.h"
#include "tokenizer/tokenizer_parts.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  dunlin::TokenizerParts parts;
  static_cast<void>(dunlin::apply_tokenizer_config(text, "fuzz", parts));
  const auto tokenizer = dunlin::Tokenizer::from_json_text(text, "fuzz");
  if (!tokenizer.ok()) return 0;
  // The file's own bytes hold its tokens' contents, so that they are found.
  for (const bool parse_special : {false, true}) {
    const auto ids = (*tokenizer)->encode(text, parse_special);
    (*tokenizer)->decode(ids.value(), true);
  }
  return 0;
}
