// Names of keys: checkpoint/config_fields.h; ggml's docs/gguf.md.
#include "convert/gguf_header.h"

#include <filesystem>
#include <string_view>

#include "base/log.h"
#include "checkpoint/chat_template_source.h"
#include "checkpoint/config_fields.h"
#include "checkpoint/families.h"
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

Result<void> add_architecture(const Metadata& config, const std::string& architecture,
                              GgufWriter& writer) {
  for (const ConfigField& field : model_fields()) {
    if (field.gguf == nullptr || !config.has(field.key)) continue;
    DUNLIN_RETURN_IF_ERROR(
        add_field(config, field.key, architecture + "." + field.gguf, field, writer));
  }
  DUNLIN_ASSIGN_OR_RETURN(const int64_t head_dim, config.integer("head_dim", 1, INT32_MAX));
  for (const char* name : {".attention.value_length", ".rope.dimension_count"})
    writer.set_u32(architecture + name, static_cast<uint32_t>(head_dim));
  return {};
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
Result<void> add_masked_diffusion(const Metadata& config, const std::string& architecture,
                                  GgufWriter& writer) {
  DUNLIN_ASSIGN_OR_RETURN(const bool shift, config.boolean_or("diffusion.shift_logits", true));
  writer.set_bool(architecture + ".attention.causal", false);
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
  DUNLIN_ASSIGN_OR_RETURN(const std::string model_type, config.text("model_type"));
  DUNLIN_ASSIGN_OR_RETURN(const StoredFamily* const family,
                          stored_family(config.origin(), model_type));
  const std::string architecture(family->gguf_architecture);
  writer.set_text("general.architecture", architecture);
  writer.set_text("general.type", "model");
  writer.set_text("general.name", folder_name(checkpoint.path()));
  DUNLIN_RETURN_IF_ERROR(add_architecture(config, architecture, writer));
  DUNLIN_RETURN_IF_ERROR(add_sampling(config, writer));
  if (family->masked_diffusion)
    DUNLIN_RETURN_IF_ERROR(add_masked_diffusion(config, architecture, writer));
  return add_text_side(checkpoint, writer);
}

}  // namespace dunlin
