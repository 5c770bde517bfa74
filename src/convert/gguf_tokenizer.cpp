#include "convert/gguf_tokenizer.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/log.h"
#include "tokenizer/byte_alphabet.h"

namespace dunlin {
namespace {

// Values of tokenizer.ggml.token_type.
constexpr int32_t kNormal = 1;
constexpr int32_t kControl = 3;
constexpr int32_t kUserDefined = 4;
constexpr int32_t kUnused = 5;

constexpr const char* kEnds[] = {"eos", "eot", "eom"};

// The ids at which generation stops, that of the tokenizer first.
std::vector<int64_t> end_ids(const Metadata& config, const TokenizerParts* parts) {
  std::vector<int64_t> ids;
  if (parts != nullptr && parts->eos_id) ids.push_back(*parts->eos_id);
  const auto* list = std::get_if<std::vector<int64_t>>(config.find("eos_token_id"));
  if (list == nullptr) return ids;
  for (const int64_t id : *list) {
    if (std::ranges::find(ids, id) == ids.end()) ids.push_back(id);
  }
  return ids;
}

std::string id_key(const char* name) {
  return fmt::format("tokenizer.ggml.{}_token_id", name);
}

}  // namespace

Result<void> add_special_ids(const Metadata& config, const TokenizerParts* parts,
                             GgufWriter& writer) {
  std::optional<int64_t> bos;
  if (parts != nullptr && parts->bos_id) bos = parts->bos_id;
  if (!bos && config.has("bos_token_id")) {
    DUNLIN_ASSIGN_OR_RETURN(bos, config.integer("bos_token_id", 0, INT32_MAX));
  }
  if (bos) writer.set_u32(id_key("bos"), static_cast<uint32_t>(*bos));
  const std::vector<int64_t> ends = end_ids(config, parts);
  for (size_t i = 0; i < ends.size(); ++i) {
    if (i < std::size(kEnds)) {
      writer.set_u32(id_key(kEnds[i]), static_cast<uint32_t>(ends[i]));
    } else {
      log_warning(fmt::format("{}: GGUF has no place for a fourth eos_token_id; {} is left out",
                              config.origin(), ends[i]));
    }
  }
  return {};
}

Result<void> add_tokens(const Metadata& config, TokenizerParts parts, GgufWriter& writer) {
  DUNLIN_ASSIGN_OR_RETURN(const int64_t rows, config.integer("vocab_size", 1, 1 << 24));
  const auto pre = gguf_pre_name(parts);
  if (!pre) {
    return model_error(fmt::format(
        "{}: the pre_tokenizer of its tokenizer.json has no name in GGUF files", config.origin()));
  }
  if (parts.vocabulary.size() > rows) {
    return model_error(fmt::format("{}: vocab_size is {}, but its tokenizer has ids up to {}",
                                   config.origin(), rows, parts.vocabulary.size() - 1));
  }
  if (const auto index = parts.vocabulary.build_index(); !index.ok())
    return index.error().with_context(config.origin());

  std::vector<std::string> tokens;
  std::vector<int32_t> types;
  for (int64_t id = 0; id < rows; ++id) {
    const bool used = parts.vocabulary.contains(id);
    const std::string_view bytes = parts.vocabulary.bytes(id);
    // A token that was not written in the byte alphabet is plain text, and found by nobody.
    const bool in_alphabet = used && parts.vocabulary.find(bytes) == id;
    tokens.push_back(!used         ? fmt::format("[PAD{}]", id)
                     : in_alphabet ? to_byte_alphabet(bytes)
                                   : std::string(bytes));
    types.push_back(used ? kNormal : kUnused);
  }
  for (const AddedToken& token : parts.added_tokens) {
    tokens[static_cast<size_t>(token.id)] = token.content;
    types[static_cast<size_t>(token.id)] = token.special ? kControl : kUserDefined;
  }
  std::vector<std::string> merges;
  for (size_t rank = 0; rank < parts.merges.size(); ++rank) {
    const MergeList::Pair pair = parts.merges[rank];
    merges.push_back(to_byte_alphabet(pair.left) + " " + to_byte_alphabet(pair.right()));
  }
  writer.set_text("tokenizer.ggml.model", "gpt2");
  writer.set_text("tokenizer.ggml.pre", *pre);
  writer.set_texts("tokenizer.ggml.tokens", tokens);
  writer.set_i32s("tokenizer.ggml.token_type", types);
  writer.set_texts("tokenizer.ggml.merges", merges);
  writer.set_bool("tokenizer.ggml.add_bos_token", parts.adds_bos);
  return {};
}

}  // namespace dunlin
