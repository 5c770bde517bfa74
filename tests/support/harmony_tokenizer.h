// A tiny tokenizer that has the special tokens of Harmony: every byte, a few words, and the marks.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace dunlin {

// The text of its tokenizer.json.
std::string harmony_tokenizer_json();

// The id of a mark ("<|start|>") or of one of the words. Throws for anything else.
int32_t harmony_id(std::string_view token);
std::vector<int32_t> harmony_ids(const std::vector<std::string_view>& tokens);

}  // namespace dunlin
