// Names of keys: checkpoint/config_fields.h; ggml's docs/gguf.md.
#include "convert/gguf_header.h"

#include <fmt/format.h>

#include <cmath>
#include <filesystem>
#include <string_view>
#include <utility>

#include "base/log.h"
#include "base/text_checks.h"
#include "checkpoint/chat_template_source.h"
#include "checkpoint/config_fields.h"
#include "checkpoint/families.h"
#include "checkpoint/gguf_reader.h"
#include "checkpoint/prepared_manifest.h"
#include "checkpoint/text_directory.h"
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

// Numbers are f32 and integers u32, or i32 where they may be negative: as llama.cpp writes them.
Result<void> add_field(const Metadata& config, const std::string& from, const std::string& name,
                       const ConfigField& field, GgufWriter& writer) {
  DUNLIN_ASSIGN_OR_RETURN(const Metadata::Value value, read_field(config, from, field));
  if (const auto* number = std::get_if<double>(&value)) {
    writer.set_f32(name, static_cast<float>(*number));
  } else if (const auto* integer = std::get_if<int64_t>(&value)) {
    if (field.low < 0) {
      writer.set_i32(name, static_cast<int32_t>(*integer));
    } else {
      writer.set_u32(name, static_cast<uint32_t>(*integer));
    }
  } else {
    writer.set_bool(name, std::get<bool>(value));
  }
  return {};
}

// llama.cpp cuts YaRN's range for every model, and so do files without a word, but for families whose
// models do not: they, and models that differ, need a key of our own.
Result<void> add_yarn(const Metadata& config, const StoredFamily& family, GgufWriter& writer) {
  DUNLIN_ASSIGN_OR_RETURN(const std::string type, config.text("rope_scaling.rope_type"));
  if (type != "yarn") return {};
  const std::string prefix = fmt::format("{}.rope.scaling.", family.gguf_architecture);
  writer.set_text(prefix + "type", type);
  DUNLIN_ASSIGN_OR_RETURN(const double factor, config.number("rope_scaling.factor", 1, 1e6));
  writer.set_f32(prefix + "factor", static_cast<float>(factor));
  DUNLIN_ASSIGN_OR_RETURN(
      const int64_t original,
      config.integer("rope_scaling.original_max_position_embeddings", 1, 1 << 30));
  writer.set_u32(prefix + "original_context_length", static_cast<uint32_t>(original));
  for (const auto& [key, usual] : {std::pair("beta_fast", 32.0), std::pair("beta_slow", 1.0)}) {
    DUNLIN_ASSIGN_OR_RETURN(const double beta,
                            config.number(std::string("rope_scaling.") + key, 1e-6, 1e6));
    if (beta != usual) writer.set_f32(prefix + "yarn_" + key, static_cast<float>(beta));
  }
  const double scale = 0.1 * std::log(factor) + 1.0;
  DUNLIN_ASSIGN_OR_RETURN(const double attention,
                          config.number_or("rope_scaling.attention_factor", 1e-3, 1e3, scale));
  if (attention != scale)
    writer.set_f32(prefix + "attn_factor", static_cast<float>(attention / scale));
  DUNLIN_ASSIGN_OR_RETURN(const bool truncate, config.boolean("rope_scaling.truncate"));
  if (truncate != family.yarn_truncates) writer.set_bool(prefix + "yarn_truncate", truncate);
  return {};
}

// What a GGUF file has no key for must be what its readers take it for.
Result<void> check_mixture(const Metadata& config) {
  for (const auto& [key, usual] :
       {std::pair("swiglu_alpha", 1.702), std::pair("swiglu_limit", 7.0)}) {
    DUNLIN_ASSIGN_OR_RETURN(const double value, config.number_or(key, 1e-3, 1e6, usual));
    if (value == usual) continue;
    return model_error(fmt::format("{}: {} {} has no form in GGUF files, which mean {}",
                                   config.origin(), key, value, usual));
  }
  const auto* const types = config.find("layer_types");
  if (types == nullptr) return {};
  const auto* const names = std::get_if<std::vector<std::string>>(types);
  for (size_t i = 0; names != nullptr && i < names->size(); ++i) {
    if ((*names)[i] == (i % 2 == 0 ? "sliding_attention" : "full_attention")) continue;
    return model_error(fmt::format(
        "{}: layer_types[{}] {} has no form in GGUF files, which mean sliding_attention and "
        "full_attention in turn",
        config.origin(), i, quoted_text((*names)[i])));
  }
  return {};
}

Result<void> add_architecture(const Metadata& config, const StoredFamily& family,
                              GgufWriter& writer) {
  const std::string architecture(family.gguf_architecture);
  for (const ConfigField& field : model_fields()) {
    if (field.gguf == nullptr || !config.has(field.key)) continue;
    DUNLIN_RETURN_IF_ERROR(
        add_field(config, field.key, architecture + "." + field.gguf, field, writer));
  }
  DUNLIN_ASSIGN_OR_RETURN(const int64_t head_dim, config.integer("head_dim", 1, INT32_MAX));
  for (const char* name : {".attention.value_length", ".rope.dimension_count"})
    writer.set_u32(architecture + name, static_cast<uint32_t>(head_dim));
  DUNLIN_RETURN_IF_ERROR(add_yarn(config, family, writer));
  if (!family.mixture) return {};
  DUNLIN_ASSIGN_OR_RETURN(const int64_t width, config.integer("intermediate_size", 1, 1 << 22));
  writer.set_u32(architecture + ".expert_feed_forward_length", static_cast<uint32_t>(width));
  return check_mixture(config);
}

Result<void> add_sampling(const Metadata& config, GgufWriter& writer) {
  for (const ConfigField& field : generation_fields()) {
    const std::string from = std::string("generation.") + field.key;
    if (field.gguf == nullptr || !config.has(from)) continue;
    DUNLIN_RETURN_IF_ERROR(
        add_field(config, from, std::string("general.sampling.") + field.gguf, field, writer));
  }
  return {};
}

// As llama.cpp's converter of DreamModel writes them.
Result<void> add_masked_diffusion(const Metadata& config, const StoredFamily& family,
                                  GgufWriter& writer) {
  DUNLIN_ASSIGN_OR_RETURN(const bool shift, config.boolean_or("diffusion.shift_logits", true));
  writer.set_bool(fmt::format("{}.attention.causal", family.gguf_architecture), false);
  writer.set_bool("diffusion.shift_logits", shift);
  constexpr std::pair<const char*, const char*> kIds[] = {
      {"tokenizer.ggml.mask_token_id", "mask_token_id"},
      {"tokenizer.ggml.padding_token_id", "pad_token_id"}};
  for (const auto& [name, key] : kIds) {
    if (!config.has(key)) continue;
    DUNLIN_ASSIGN_OR_RETURN(const int64_t id, config.integer(key, 0, INT32_MAX));
    writer.set_u32(name, static_cast<uint32_t>(id));
  }
  return {};
}

Result<void> add_text_side(const Checkpoint& checkpoint, GgufWriter& writer) {
  const Metadata& config = checkpoint.config();
  const std::string folder = text_directory(checkpoint);
  if (tokenizer_file(folder).empty()) {
    log_warning(checkpoint.path() + ": no tokenizer.json, so the GGUF file has no tokenizer");
    return add_special_ids(config, nullptr, writer);
  }
  DUNLIN_ASSIGN_OR_RETURN(TokenizerParts parts, read_tokenizer_directory(folder));
  DUNLIN_RETURN_IF_ERROR(add_special_ids(config, &parts, writer));
  if (const auto source = chat_template_source(checkpoint); source.ok())
    writer.set_text("tokenizer.chat_template", *source);
  return add_tokens(config, std::move(parts), writer);
}

}  // namespace

Result<void> add_gguf_header(const Checkpoint& checkpoint, GgufWriter& writer) {
  if (std::string_view(checkpoint.container()) == "gguf")
    return copy_header(checkpoint.path(), writer);
  // A prepared directory that was made from a GGUF file.
  if (!checkpoint.header().values().empty())
    return copy_header(checkpoint.path() + "/" + kHeaderFile, writer);
  const Metadata& config = checkpoint.config();
  DUNLIN_ASSIGN_OR_RETURN(const StoredFamily* const family, stored_family(config));
  writer.set_text("general.architecture", std::string(family->gguf_architecture));
  writer.set_text("general.type", "model");
  writer.set_text("general.name", folder_name(checkpoint.path()));
  DUNLIN_RETURN_IF_ERROR(add_architecture(config, *family, writer));
  DUNLIN_RETURN_IF_ERROR(add_sampling(config, writer));
  if (family->masked_diffusion)
    DUNLIN_RETURN_IF_ERROR(add_masked_diffusion(config, *family, writer));
  return add_text_side(checkpoint, writer);
}

}  // namespace dunlin
