// The splitter of Qwen2 and Qwen2.5 (tokenizer.json of Qwen/Qwen2.5-7B, pre_tokenizer): Llama 3's
// with single digits.
#include "tokenizer/splitters/llama3.h"
#include "tokenizer/splitters/splitter.h"

namespace dunlin {
namespace {

size_t first_piece(std::string_view text) noexcept {
  return llama3_first_piece(text, 1);
}

}  // namespace

const Splitter kQwen2Splitter = {"Qwen2", first_piece};

}  // namespace dunlin
