// Keys: those of transformers' LlamaConfig, Qwen2Config and GptOssConfig.
#include "convert/hf_config_text.h"

#include <fmt/format.h>

#include <algorithm>
#include <nlohmann/json.hpp>

#include "checkpoint/config_fields.h"
#include "checkpoint/families.h"
#include "convert/llama3_scaling.h"

namespace dunlin {
namespace {

using Json = nlohmann::ordered_json;

// A number that GGUF stores as float32, in the fewest digits that give the same float32.
double shortest(double value) {
  return std::stod(fmt::format("{}", static_cast<float>(value)));
}

// One id, or a list.
Json ids_json(const Metadata& config) {
  const auto* ids = std::get_if<std::vector<int64_t>>(config.find("eos_token_id"));
  if (ids == nullptr || ids->empty()) return nullptr;
  return ids->size() == 1 ? Json(ids->front()) : Json(*ids);
}

Json value_json(const Metadata& config, const std::string& key) {
  const Metadata::Value* const value = config.find(key);
  if (value == nullptr) return nullptr;
  if (const auto* number = std::get_if<double>(value)) return shortest(*number);
  return std::visit([](const auto& each) { return Json(each); }, *value);
}

Json scaling_json(const Llama3Scaling& scaling) {
  return {{"rope_type", "llama3"},
          {"factor", scaling.factor},
          {"low_freq_factor", scaling.low_freq_factor},
          {"high_freq_factor", scaling.high_freq_factor},
          {"original_max_position_embeddings", scaling.original_max_position_embeddings}};
}

Json yarn_json(const Metadata& config) {
  Json object = Json::object();
  for (const char* key : {"rope_type", "factor", "beta_fast", "beta_slow", "truncate",
                          "attention_factor", "original_max_position_embeddings"}) {
    const std::string name = std::string("rope_scaling.") + key;
    if (config.has(name)) object[key] = value_json(config, name);
  }
  return object;
}

// Null for a model without scaling.
Result<Json> rope_scaling(const Metadata& config) {
  DUNLIN_ASSIGN_OR_RETURN(const std::string type,
                          config.text_or("rope_scaling.rope_type", "default"));
  if (type == "yarn") return yarn_json(config);
  const auto* divisors = std::get_if<std::vector<double>>(config.find("rope_freq_divisors"));
  if (divisors == nullptr) return Json(nullptr);
  if (std::ranges::all_of(*divisors, [](double divisor) { return divisor == 1.0; }))
    return Json(nullptr);
  DUNLIN_ASSIGN_OR_RETURN(const double theta, config.number("rope_theta", 1, 1e12));
  const auto scaling = find_llama3_scaling(theta, *divisors);
  if (!scaling) {
    return model_error(fmt::format(
        "{}: rope_freqs.weight is not llama3's scaling, and config.json has no words for another",
        config.origin()));
  }
  return scaling_json(*scaling);
}

// Of every layer. GGUF files have no key for them: a window in every other layer, from the first on.
Result<Json> layer_types(const Metadata& config) {
  if (config.has("layer_types")) return value_json(config, "layer_types");
  DUNLIN_ASSIGN_OR_RETURN(const int64_t layers, config.integer("num_hidden_layers", 1, 4096));
  Json types = Json::array();
  for (int64_t i = 0; i < layers; ++i)
    types.push_back(i % 2 == 0 ? "sliding_attention" : "full_attention");
  return types;
}

const char* dtype_name(Format dtype) {
  return dtype == Format::f16 ? "float16" : dtype == Format::bf16 ? "bfloat16" : "float32";
}

}  // namespace

Result<std::string> hf_config_text(const Metadata& config, Format dtype) {
  DUNLIN_ASSIGN_OR_RETURN(const Json scaling, rope_scaling(config));
  DUNLIN_ASSIGN_OR_RETURN(const StoredFamily* const family, stored_family(config));
  Json object = {{"architectures", Json::array({family->architecture})},
                 {"model_type", family->model_type}};
  std::vector<const char*> keys;
  for (const ConfigField& field : model_fields())
    if (config.has(field.key)) keys.push_back(field.key);
  keys.insert(keys.end(), {"hidden_act", "tie_word_embeddings"});
  if (family->configured_biases) keys.insert(keys.end(), {"attention_bias", "mlp_bias"});
  for (const char* key : keys) object[key] = value_json(config, key);
  if (family->windows) {
    DUNLIN_ASSIGN_OR_RETURN(object["layer_types"], layer_types(config));
  }
  if (family->mixture) {
    object["attention_bias"] = true;
    // GGUF files have no key for it and mean this.
    if (!config.has("swiglu_limit")) object["swiglu_limit"] = 7.0;
  }
  object["rope_scaling"] = scaling;
  object["bos_token_id"] = value_json(config, "bos_token_id");
  object["eos_token_id"] = ids_json(config);
  if (family->masked_diffusion) {
    DUNLIN_ASSIGN_OR_RETURN(const bool shift, config.boolean_or("diffusion.shift_logits", true));
    if (!shift) {
      return model_error(
          fmt::format("{}: diffusion.shift_logits is false, and config.json has no word for that",
                      config.origin()));
    }
    for (const char* key : {"mask_token_id", "pad_token_id"}) object[key] = value_json(config, key);
  }
  object["torch_dtype"] = dtype_name(dtype);
  return object.dump(2) + '\n';
}

std::optional<std::string> hf_generation_config_text(const Metadata& config) {
  Json object = Json::object();
  constexpr std::string_view kPrefix = "generation.";
  for (const auto& [key, value] : config.values()) {
    if (key.starts_with(kPrefix)) object[key.substr(kPrefix.size())] = value_json(config, key);
  }
  if (object.empty()) return std::nullopt;
  object["do_sample"] = true;
  object["bos_token_id"] = value_json(config, "bos_token_id");
  object["eos_token_id"] = ids_json(config);
  return object.dump(2) + '\n';
}

}  // namespace dunlin
