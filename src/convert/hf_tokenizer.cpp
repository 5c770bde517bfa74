#include "convert/hf_tokenizer.h"

#include <fmt/format.h>

#include <algorithm>
#include <nlohmann/json.hpp>

#include "base/check.h"
#include "tokenizer/byte_alphabet.h"

namespace dunlin {
namespace {

using Json = nlohmann::ordered_json;

std::string quoted(const std::string& text) {
  return nlohmann::json(text).dump();
}

Json byte_level(bool gpt2_pattern) {
  return {{"type", "ByteLevel"},
          {"add_prefix_space", false},
          {"trim_offsets", true},
          {"use_regex", gpt2_pattern}};
}

Json pre_tokenizer(const Splitter& splitter) {
  Json steps = Json::array();
  if (splitter.isolates_numbers) {
    steps.push_back({{"type", "Digits"}, {"individual_digits", true}});
  } else if (!splitter.pattern.empty()) {
    steps.push_back({{"type", "Split"},
                     {"pattern", {{"Regex", splitter.pattern}}},
                     {"behavior", "Isolated"},
                     {"invert", false}});
  }
  steps.push_back(byte_level(splitter.then_gpt2));
  if (steps.size() == 1) return steps[0];
  return {{"type", "Sequence"}, {"pretokenizers", steps}};
}

const AddedToken* find_added(const TokenizerParts& parts, std::optional<int32_t> id) {
  const auto it = std::ranges::find_if(
      parts.added_tokens, [&](const AddedToken& token) { return id && token.id == *id; });
  return it == parts.added_tokens.end() ? nullptr : &*it;
}

// Puts the beginning-of-sequence token before every text.
Json post_processor(const TokenizerParts& parts) {
  const AddedToken* const bos = find_added(parts, parts.bos_id);
  if (!parts.adds_bos || bos == nullptr) return nullptr;
  const auto sequence = [](const char* name) {
    return Json{{"Sequence", {{"id", name}, {"type_id", 0}}}};
  };
  const Json token = {{"SpecialToken", {{"id", bos->content}, {"type_id", 0}}}};
  return {{"type", "TemplateProcessing"},
          {"single", Json::array({token, sequence("A")})},
          {"pair", Json::array({token, sequence("A"), token, sequence("B")})},
          {"special_tokens",
           {{bos->content,
             {{"id", bos->content},
              {"ids", Json::array({bos->id})},
              {"tokens", Json::array({bos->content})}}}}}};
}

Json added_tokens(const TokenizerParts& parts) {
  Json list = Json::array();
  for (const AddedToken& token : parts.added_tokens) {
    list.push_back({{"id", token.id},
                    {"content", token.content},
                    {"single_word", false},
                    {"lstrip", false},
                    {"rstrip", false},
                    {"normalized", token.normalized},
                    {"special", token.special}});
  }
  return list;
}

// {"token": id, ...} by id. Added tokens behind all others are no part of it: the `tokenizers`
// package numbers those on from its end.
std::string vocabulary_text(const TokenizerParts& parts) {
  const Vocabulary& vocabulary = parts.vocabulary;
  std::map<int32_t, const std::string*> added;
  for (const AddedToken& token : parts.added_tokens) added[token.id] = &token.content;
  int32_t end = vocabulary.size();
  while (end > 0 && (added.contains(end - 1) || !vocabulary.contains(end - 1))) --end;
  std::string text = "{";
  for (int32_t id = 0; id < end; ++id) {
    if (!vocabulary.contains(id)) continue;
    const std::string_view bytes = vocabulary.bytes(id);
    const auto it = added.find(id);
    const bool plain = it == added.end() && vocabulary.find(bytes) != id;
    const std::string token = it != added.end() ? *it->second
                              : plain           ? std::string(bytes)
                                                : to_byte_alphabet(bytes);
    text += fmt::format("{}{}:{}", text.size() > 1 ? ",\n" : "", quoted(token), id);
  }
  return text + '}';
}

std::string merges_text(const MergeList& merges) {
  std::string text = "[";
  for (size_t rank = 0; rank < merges.size(); ++rank) {
    const MergeList::Pair pair = merges[rank];
    text += (rank > 0 ? ",\n" : "") +
            quoted(to_byte_alphabet(pair.left) + " " + to_byte_alphabet(pair.right()));
  }
  return text + ']';
}

}  // namespace

Result<std::string> hf_tokenizer_text(TokenizerParts parts) {
  DUNLIN_CHECK(parts.splitter != nullptr, "the pre-tokenizer of a GGUF file is a family's");
  DUNLIN_RETURN_IF_ERROR(parts.vocabulary.build_index());
  const Json normalizer = parts.nfc ? Json{{"type", "NFC"}} : Json(nullptr);
  const Json document = {{"version", "1.0"},
                         {"truncation", nullptr},
                         {"padding", nullptr},
                         {"added_tokens", added_tokens(parts)},
                         {"normalizer", normalizer},
                         {"pre_tokenizer", pre_tokenizer(*parts.splitter)},
                         {"post_processor", post_processor(parts)},
                         {"decoder", byte_level(true)}};
  // The vocabulary and the merges, hundreds of thousands of entries, are joined by hand.
  std::string text = document.dump(1);
  text.resize(text.rfind('}'));
  text += fmt::format(
      R"(,
 "model": {{
  "type": "BPE",
  "dropout": null,
  "unk_token": null,
  "continuing_subword_prefix": null,
  "end_of_word_suffix": null,
  "fuse_unk": false,
  "byte_fallback": false,
  "ignore_merges": {},
  "vocab": )",
      parts.ignore_merges);
  return text + vocabulary_text(parts) + ",\n  \"merges\": " + merges_text(parts.merges) +
         "\n }\n}\n";
}

std::string hf_tokenizer_config_text(const TokenizerParts& parts,
                                     const std::optional<std::string>& chat_template) {
  Json object = {{"tokenizer_class", "PreTrainedTokenizerFast"},
                 {"clean_up_tokenization_spaces", false},
                 {"add_bos_token", parts.adds_bos}};
  if (const AddedToken* const bos = find_added(parts, parts.bos_id))
    object["bos_token"] = bos->content;
  if (const AddedToken* const eos = find_added(parts, parts.eos_id))
    object["eos_token"] = eos->content;
  if (chat_template) object["chat_template"] = *chat_template;
  return object.dump(2) + '\n';
}

}  // namespace dunlin
