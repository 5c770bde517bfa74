// The fields that config.json and a GGUF header share.
#include "checkpoint/canonical_config.h"

#include <fmt/format.h>

#include <algorithm>
#include <string_view>

#include "checkpoint/config_fields.h"

namespace dunlin {
namespace {

Error disagreement(const Metadata& config, std::string_view problem) {
  return model_error(fmt::format("{}: {}", config.origin(), problem));
}

Result<int64_t> positive(const Metadata& config, const char* key) {
  return config.integer(key, 1, 1 << 30);
}

// Fills in the heads' defaults and checks that they divide.
Result<void> complete_heads(Metadata& config) {
  DUNLIN_ASSIGN_OR_RETURN(const int64_t hidden, positive(config, "hidden_size"));
  DUNLIN_ASSIGN_OR_RETURN(const int64_t heads, positive(config, "num_attention_heads"));
  if (!config.has("num_key_value_heads")) config.set("num_key_value_heads", heads);
  DUNLIN_ASSIGN_OR_RETURN(const int64_t kv_heads, positive(config, "num_key_value_heads"));
  if (heads % kv_heads != 0) {
    return disagreement(config,
                        fmt::format("{} attention heads are not a multiple of {} key-value heads "
                                    "(num_attention_heads, num_key_value_heads)",
                                    heads, kv_heads));
  }
  if (!config.has("head_dim")) {
    if (hidden % heads != 0) {
      return disagreement(
          config,
          fmt::format("hidden_size {} is not a multiple of num_attention_heads {}, and head_dim "
                      "is not given",
                      hidden, heads));
    }
    config.set("head_dim", hidden / heads);
  }
  DUNLIN_ASSIGN_OR_RETURN(const int64_t head_dim, config.integer("head_dim", 2, 4096));
  if (head_dim % 2 != 0) {
    return disagreement(config,
                        fmt::format("head_dim {} is odd; rotary embedding needs pairs", head_dim));
  }
  return {};
}

// What the family takes a key of config.json for that is not there.
void add_defaults(Metadata& config, const StoredFamily& family) {
  for (const DefaultValue& each : family.defaults) {
    if (config.has(each.key)) continue;
    const auto field = std::ranges::find_if(model_fields(), [&each](const ConfigField& row) {
      return std::string_view(row.key) == each.key;
    });
    const bool whole = field != model_fields().end() && field->kind == ConfigField::Kind::integer;
    if (whole) {
      config.set(each.key, static_cast<int64_t>(each.value));
    } else {
      config.set(each.key, each.value);
    }
  }
}

}  // namespace

Result<Metadata> canonical_config(const Metadata& source, ConfigSpelling spelling,
                                  const StoredFamily& family) {
  const bool gguf = spelling == ConfigSpelling::gguf;
  Metadata config(source.origin());
  config.set("model_type", std::string(family.model_type));
  for (const ConfigField& field : model_fields()) {
    if (gguf && field.gguf == nullptr) continue;
    if (field.only_with != nullptr && !(family.*field.only_with)) continue;
    const std::string name =
        gguf ? fmt::format("{}.{}", family.gguf_architecture, field.gguf) : field.key;
    const bool required = field.need == ConfigField::Need::required ||
                          (gguf && field.need == ConfigField::Need::required_in_gguf);
    if (!required && !source.has(name)) continue;
    DUNLIN_ASSIGN_OR_RETURN(auto value, read_field(source, name, field));
    config.set(field.key, std::move(value));
  }
  if (!gguf) add_defaults(config, family);
  DUNLIN_RETURN_IF_ERROR(complete_heads(config));
  if (!config.has("rope_theta")) config.set("rope_theta", 10000.0);
  config.set("eos_token_id", std::vector<int64_t>{});
  return config;
}

Result<void> add_eos_token(Metadata& config, int64_t id) {
  DUNLIN_ASSIGN_OR_RETURN(const int64_t vocabulary, positive(config, "vocab_size"));
  if (id >= vocabulary) return {};
  auto ids = std::get<std::vector<int64_t>>(*config.find("eos_token_id"));
  if (std::ranges::find(ids, id) == ids.end()) ids.push_back(id);
  config.set("eos_token_id", std::move(ids));
  return {};
}

Result<void> add_generation(Metadata& config, const Metadata& source, ConfigSpelling spelling) {
  for (const ConfigField& field : generation_fields()) {
    if (spelling == ConfigSpelling::gguf && field.gguf == nullptr) continue;
    const std::string name = spelling == ConfigSpelling::gguf
                                 ? std::string("general.sampling.") + field.gguf
                                 : field.key;
    if (!source.has(name)) continue;
    DUNLIN_ASSIGN_OR_RETURN(auto value, read_field(source, name, field));
    config.set(std::string("generation.") + field.key, std::move(value));
  }
  return {};
}

}  // namespace dunlin
