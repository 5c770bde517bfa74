#include "support/harmony_tokenizer.h"

#include <algorithm>
#include <array>
#include <nlohmann/json.hpp>
#include <stdexcept>

namespace dunlin {
namespace {

using Json = nlohmann::ordered_json;

constexpr int32_t kBytes = 256;
// Some are pieces that no text is cut into: only a model can say them.
constexpr std::array<std::string_view, 14> kWords = {
    "assistant", "analysis", "commentary", "final", "user", "system", "developer",
    " hmm",      "Hi",       "json",       "{}",    " you", " there", " to=functions.f"};
constexpr std::array<std::string_view, 9> kMarks = {
    "<|endoftext|>", "<|return|>",  "<|constrain|>", "<|channel|>",        "<|start|>",
    "<|end|>",       "<|message|>", "<|call|>",      "<|reserved_200013|>"};
constexpr auto kFirstMark = static_cast<int32_t>(kBytes + kWords.size());

// The letter of a byte in vocabularies of byte-level BPE (GPT-2's bytes_to_unicode).
std::string letter_of(int byte) {
  const auto is_plain = [](int each) {
    return (each >= '!' && each <= '~') || (each >= 0xA1 && each <= 0xAC) || each >= 0xAE;
  };
  int point = byte;
  if (!is_plain(byte)) {
    point = 256;
    for (int each = 0; each < byte; ++each) point += is_plain(each) ? 0 : 1;
  }
  if (point < 0x80) return std::string(1, static_cast<char>(point));
  return {static_cast<char>(0xC0 | (point >> 6)), static_cast<char>(0x80 | (point & 0x3F))};
}

std::string letters_of(std::string_view text) {
  std::string letters;
  for (const char each : text) letters += letter_of(static_cast<unsigned char>(each));
  return letters;
}

template <size_t N>
int32_t index_in(const std::array<std::string_view, N>& list, std::string_view token) {
  const auto* const found = std::ranges::find(list, token);
  return found == list.end() ? -1 : static_cast<int32_t>(found - list.begin());
}

}  // namespace

std::string harmony_tokenizer_json() {
  Json vocabulary = Json::object();
  int32_t next = 0;
  for (int byte = 0; byte < kBytes; ++byte) vocabulary[letter_of(byte)] = next++;
  for (const std::string_view word : kWords) vocabulary[letters_of(word)] = next++;
  Json added = Json::array();
  for (const std::string_view mark : kMarks) {
    added.push_back({{"id", next++},
                     {"content", mark},
                     {"single_word", false},
                     {"lstrip", false},
                     {"rstrip", false},
                     {"normalized", false},
                     {"special", true}});
  }
  const Json splitter = {{"type", "ByteLevel"},
                         {"add_prefix_space", false},
                         {"trim_offsets", true},
                         {"use_regex", true}};
  const Json model = {{"type", "BPE"},
                      {"ignore_merges", true},
                      {"vocab", std::move(vocabulary)},
                      {"merges", Json::array()}};
  const Json file = {
      {"version", "1.0"},          {"added_tokens", std::move(added)},   {"normalizer", nullptr},
      {"pre_tokenizer", splitter}, {"decoder", {{"type", "ByteLevel"}}}, {"model", model}};
  return file.dump();
}

int32_t harmony_id(std::string_view token) {
  if (const int32_t mark = index_in(kMarks, token); mark >= 0) return kFirstMark + mark;
  if (const int32_t word = index_in(kWords, token); word >= 0) return kBytes + word;
  throw std::out_of_range("no such token: " + std::string(token));
}

std::vector<int32_t> harmony_ids(const std::vector<std::string_view>& tokens) {
  std::vector<int32_t> ids;
  for (const std::string_view each : tokens) ids.push_back(harmony_id(each));
  return ids;
}

}  // namespace dunlin
