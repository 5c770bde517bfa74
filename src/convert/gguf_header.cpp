// Names of keys: ggml's docs/gguf.md and llama.cpp's gguf-py/gguf/constants.py.
#include "convert/gguf_header.h"

#include <filesystem>
#include <string_view>

#include "base/log.h"
#include "checkpoint/chat_template_source.h"
#include "checkpoint/gguf_reader.h"
#include "convert/gguf_tokenizer.h"

namespace dunlin {
namespace {

Result<void> copy_header(const std::string& path, GgufWriter& writer) {
  DUNLIN_ASSIGN_OR_RETURN(const auto source, open_file(path));
  DUNLIN_ASSIGN_OR_RETURN(const GgufHeader header, read_gguf_header(*source));
  for (const GgufPair& pair : header.pairs) {
    if (pair.key.starts_with("split.")) continue;
    std::vector<std::byte> value(pair.bytes);
    DUNLIN_RETURN_IF_ERROR(source->read_at(pair.offset, value));
    writer.set_stored(pair.key, value);
  }
  return {};
}

// The name of the folder, wherever the command was started: "model/", "." and "/models/model".
std::string folder_name(const std::string& path) {
  std::error_code error;
  const auto whole = std::filesystem::canonical(path, error);
  return error ? path : whole.filename().string();
}

Result<void> add_architecture(const Metadata& config, const std::string& architecture,
                              GgufWriter& writer) {
  constexpr std::pair<const char*, const char*> kSizes[] = {
      {"block_count", "num_hidden_layers"},
      {"context_length", "max_position_embeddings"},
      {"embedding_length", "hidden_size"},
      {"feed_forward_length", "intermediate_size"},
      {"attention.head_count", "num_attention_heads"},
      {"attention.head_count_kv", "num_key_value_heads"},
      {"attention.key_length", "head_dim"},
      {"attention.value_length", "head_dim"},
      {"rope.dimension_count", "head_dim"},
      {"vocab_size", "vocab_size"}};
  for (const auto& [suffix, key] : kSizes) {
    DUNLIN_ASSIGN_OR_RETURN(const int64_t size, config.integer(key, 1, INT32_MAX));
    writer.set_u32(architecture + "." + suffix, static_cast<uint32_t>(size));
  }
  constexpr std::pair<const char*, const char*> kNumbers[] = {
      {"attention.layer_norm_rms_epsilon", "rms_norm_eps"}, {"rope.freq_base", "rope_theta"}};
  for (const auto& [suffix, key] : kNumbers) {
    DUNLIN_ASSIGN_OR_RETURN(const double number, config.number(key, 0, 1e12));
    writer.set_f32(architecture + "." + suffix, static_cast<float>(number));
  }
  return {};
}

Result<void> add_sampling(const Metadata& config, GgufWriter& writer) {
  constexpr std::pair<const char*, const char*> kNumbers[] = {
      {"temp", "temperature"},
      {"top_p", "top_p"},
      {"min_p", "min_p"},
      {"penalty_repeat", "repetition_penalty"}};
  for (const auto& [name, key] : kNumbers) {
    const std::string from = std::string("generation.") + key;
    if (!config.has(from)) continue;
    DUNLIN_ASSIGN_OR_RETURN(const double number, config.number(from, -1e6, 1e6));
    writer.set_f32(std::string("general.sampling.") + name, static_cast<float>(number));
  }
  if (!config.has("generation.top_k")) return {};
  DUNLIN_ASSIGN_OR_RETURN(const int64_t top_k,
                          config.integer("generation.top_k", INT32_MIN, INT32_MAX));
  writer.set_i32("general.sampling.top_k", static_cast<int32_t>(top_k));
  return {};
}

Result<void> add_text_side(const Checkpoint& checkpoint, GgufWriter& writer) {
  const Metadata& config = checkpoint.config();
  std::error_code ignored;
  if (!std::filesystem::exists(checkpoint.path() + "/tokenizer.json", ignored)) {
    log_warning(checkpoint.path() + ": no tokenizer.json, so the GGUF file has no tokenizer");
    return add_special_ids(config, nullptr, writer);
  }
  DUNLIN_ASSIGN_OR_RETURN(TokenizerParts parts, read_tokenizer_directory(checkpoint.path()));
  DUNLIN_RETURN_IF_ERROR(add_special_ids(config, &parts, writer));
  if (const auto source = chat_template_source(checkpoint); source.ok())
    writer.set_text("tokenizer.chat_template", *source);
  return add_tokens(config, std::move(parts), writer);
}

}  // namespace

Result<void> add_gguf_header(const Checkpoint& checkpoint, GgufWriter& writer) {
  if (std::string_view(checkpoint.container()) == "gguf")
    return copy_header(checkpoint.path(), writer);
  const Metadata& config = checkpoint.config();
  DUNLIN_ASSIGN_OR_RETURN(const std::string architecture, config.text("model_type"));
  writer.set_text("general.architecture", architecture);
  writer.set_text("general.type", "model");
  writer.set_text("general.name", folder_name(checkpoint.path()));
  DUNLIN_RETURN_IF_ERROR(add_architecture(config, architecture, writer));
  DUNLIN_RETURN_IF_ERROR(add_sampling(config, writer));
  return add_text_side(checkpoint, writer);
}

}  // namespace dunlin
