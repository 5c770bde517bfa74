#include "eval/corpus.h"

#include <fmt/format.h>

#include <algorithm>
#include <span>

#include "checkpoint/checkpoint.h"
#include "engine/text_model.h"

namespace dunlin {

namespace {

// What a checkpoint says about ids.
struct IdSpace {
  int64_t logits = 0;
  TextModel text;
};

Result<IdSpace> read_id_space(const std::string& path) {
  DUNLIN_ASSIGN_OR_RETURN(const auto checkpoint, open_checkpoint(path));
  IdSpace ids;
  DUNLIN_ASSIGN_OR_RETURN(ids.logits, checkpoint->config().integer("vocab_size", 1, 1 << 24));
  ids.text = load_text_model(*checkpoint);
  return ids;
}

}  // namespace

Result<Corpus> encode_corpus(const std::string& model_path, std::string_view text) {
  DUNLIN_ASSIGN_OR_RETURN(const IdSpace ids, read_id_space(model_path));
  const auto& tokenizer = ids.text.tokenizer;
  if (tokenizer == nullptr)
    return ids.text.tokenizer_error->with_context("the text needs a tokenizer");
  if (text.ends_with('\n')) text.remove_suffix(1);
  Corpus corpus{.vocabulary = ids.logits};
  DUNLIN_ASSIGN_OR_RETURN(corpus.ids, tokenizer->encode(text, /*parse_special=*/false));
  if (tokenizer->adds_bos()) corpus.bos = tokenizer->bos_id();
  if (corpus.bos) corpus.ids.insert(corpus.ids.begin(), *corpus.bos);
  const auto largest = std::ranges::max_element(corpus.ids);
  if (largest != corpus.ids.end() && *largest >= ids.logits) {
    return model_error(fmt::format("{}: the tokenizer gives id {}, the model has {} logits",
                                   model_path, *largest, ids.logits));
  }
  return corpus;
}

Result<void> check_same_vocabulary(const std::string& model_path,
                                   const std::string& reference_path) {
  DUNLIN_ASSIGN_OR_RETURN(const IdSpace model, read_id_space(model_path));
  DUNLIN_ASSIGN_OR_RETURN(const IdSpace reference, read_id_space(reference_path));
  if (model.logits != reference.logits) {
    return usage_error(
        fmt::format("the reference has another vocabulary: {} logits in {}, {} in {}",
                    reference.logits, reference_path, model.logits, model_path));
  }
  if (reference.text.tokenizer == nullptr || model.text.tokenizer == nullptr) return {};
  const Tokenizer& ours = *model.text.tokenizer;
  const Tokenizer& theirs = *reference.text.tokenizer;
  for (int32_t id = 0; id < model.logits; ++id) {
    if (ours.token_bytes(id) == theirs.token_bytes(id)) continue;
    return usage_error(
        fmt::format("the reference has another vocabulary: token {} is \"{}\" in {}, \"{}\" in {}",
                    id, theirs.decode(std::span(&id, 1), false), reference_path,
                    ours.decode(std::span(&id, 1), false), model_path));
  }
  return {};
}

}  // namespace dunlin
