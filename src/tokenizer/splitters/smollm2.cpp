// The splitter of SmolLM2 (tokenizer.json of HuggingFaceTB/SmolLM2-135M, pre_tokenizer): single
// digits, then GPT-2's.
#include "tokenizer/splitters/gpt2.h"
#include "tokenizer/splitters/splitter.h"

namespace dunlin {
namespace {

size_t first_piece(std::string_view text) noexcept {
  return gpt2_first_piece(text, true);
}

}  // namespace

const Splitter kSmolLm2Splitter = {"SmolLM2", first_piece};

}  // namespace dunlin
