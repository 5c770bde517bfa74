#include "tokenizer/added_token_matcher.h"

#include <algorithm>

namespace dunlin {

AddedTokenMatcher::AddedTokenMatcher(std::vector<AddedToken> tokens) : tokens_(std::move(tokens)) {
  std::sort(tokens_.begin(), tokens_.end(),
            [](const AddedToken& a, const AddedToken& b) { return a.content < b.content; });
  for (const AddedToken& token : tokens_) {
    bool& known = begins_token_[static_cast<unsigned char>(token.content[0])];
    if (!known) first_bytes_ += token.content[0];
    known = true;
  }
}

// Nearly always all tokens begin with "<".
size_t AddedTokenMatcher::next_beginning(std::string_view text, size_t from) const {
  if (first_bytes_.size() == 1) return std::min(text.find(first_bytes_[0], from), text.size());
  while (from < text.size() && !begins_token_[static_cast<unsigned char>(text[from])]) ++from;
  return from;
}

std::optional<AddedTokenMatcher::Match> AddedTokenMatcher::find(std::string_view text, size_t from,
                                                                const Permission& allowed) const {
  if (tokens_.empty()) return std::nullopt;
  for (size_t begin = next_beginning(text, from); begin < text.size();
       begin = next_beginning(text, begin + 1)) {
    const AddedToken* token = longest_at(text, begin, allowed);
    if (token != nullptr) return Match{begin, begin + token->content.size(), token->id};
  }
  return std::nullopt;
}

const AddedToken* AddedTokenMatcher::longest_at(std::string_view text, size_t begin,
                                                const Permission& allowed) const {
  const AddedToken* longest = nullptr;
  auto low = tokens_.begin();
  auto high = tokens_.end();  // [low, high): the tokens that begin with text[begin, begin + depth)
  for (size_t depth = 0; begin + depth < text.size(); ++depth) {
    // Contents compare as bytes; one that ends at this depth sorts before every longer one.
    const int byte = static_cast<unsigned char>(text[begin + depth]);
    const auto byte_at_depth = [depth](const AddedToken& token) {
      return depth < token.content.size() ? static_cast<unsigned char>(token.content[depth]) : -1;
    };
    low = std::partition_point(
        low, high, [&](const AddedToken& token) { return byte_at_depth(token) < byte; });
    high = std::partition_point(
        low, high, [&](const AddedToken& token) { return byte_at_depth(token) == byte; });
    if (low == high) break;
    const bool ends_here = low->content.size() == depth + 1;
    if (ends_here && allowed(*low, begin, begin + depth + 1)) longest = &*low;
  }
  return longest;
}

}  // namespace dunlin
