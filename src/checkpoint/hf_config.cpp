// Translates config.json to the canonical configuration.
#include "checkpoint/hf_config.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <span>
#include <string_view>
#include <utility>
#include <vector>

#include "base/json_document.h"
#include "base/log.h"
#include "base/owned_json.h"
#include "base/text_checks.h"
#include "checkpoint/canonical_config.h"
#include "checkpoint/families.h"

namespace dunlin {
namespace {

using nlohmann::json;

// The scalars of an object; a null counts as missing. An array or object stays in place as an empty
// list, so that reading it as a number names the key instead of calling it missing.
Metadata scalars(const json& object, const std::string& origin) {
  Metadata metadata(origin);
  for (const auto& [key, value] : object.items()) {
    if (value.is_boolean()) {
      metadata.set(key, value.get<bool>());
    } else if (value.is_number_integer() &&
               !(value.is_number_unsigned() && value.get<uint64_t>() > INT64_MAX)) {
      metadata.set(key, value.get<int64_t>());
    } else if (value.is_number()) {
      metadata.set(key, value.get<double>());
    } else if (value.is_string()) {
      metadata.set(key, value.get<std::string>());
    } else if (!value.is_null()) {
      metadata.set(key, std::vector<std::string>{});
    }
  }
  return metadata;
}

// The value of a key, or null where it is missing.
const json& value_or_null(const json& object, const char* key) {
  static const json kNull;
  const auto it = object.find(key);
  return it == object.end() ? kNull : *it;
}

// config.json of gpt-oss's original/ directory (openai/gpt-oss, torch/model.py, ModelConfig), in the
// words of transformers. Its special tokens are in the published files of the model only.
void translate_openai(json& document) {
  const bool openai = !document.contains("model_type") && document.contains("rope_ntk_alpha") &&
                      document.contains("initial_context_length");
  if (!openai) return;
  const json original = document["initial_context_length"];
  const json factor = value_or_null(document, "rope_scaling_factor");
  document["model_type"] = "gpt_oss";
  document["rope_scaling"] = {{"rope_type", "yarn"},
                              {"factor", factor},
                              {"beta_fast", value_or_null(document, "rope_ntk_beta")},
                              {"beta_slow", document["rope_ntk_alpha"]},
                              {"truncate", false},
                              {"original_max_position_embeddings", original}};
  if (original.is_number() && factor.is_number())
    document["max_position_embeddings"] = original.get<double>() * factor.get<double>();
  // Nothing else has been published under these keys; weights beside them tell their format.
  if (!document.contains("quantization_config"))
    document["quantization_config"] = json::object({{"quant_method", "mxfp4"}});
  document["bos_token_id"] = 199998;
  document["eos_token_id"] = {200002, 199999, 200012};
}

// Keys that published files and transformers have under two names.
void add_other_spellings(Metadata& source) {
  constexpr std::pair<const char*, const char*> kSame[] = {
      {"num_experts_per_tok", "experts_per_token"}, {"num_local_experts", "num_experts"}};
  for (const auto& [key, other] : kSame) {
    if (!source.has(key) && source.has(other)) source.set(key, *source.find(other));
  }
}

Result<const StoredFamily*> read_family(const json& document, const Metadata& source) {
  DUNLIN_ASSIGN_OR_RETURN(const std::string name, source.text("model_type"));
  DUNLIN_ASSIGN_OR_RETURN(const StoredFamily* const family, stored_family(source.origin(), name));
  const json& architectures = value_or_null(document, "architectures");
  if (architectures.is_null()) return family;
  if (!architectures.is_array()) {
    return model_error(fmt::format("{}: architectures is not a list", source.origin()));
  }
  const bool listed = std::ranges::any_of(
      architectures, [&](const json& name_value) { return name_value == family->architecture; });
  if (!architectures.empty() && !listed) {
    return model_error(fmt::format(
        "{}: architectures of model_type {} must name {}; other heads are not supported",
        source.origin(), name, family->architecture));
  }
  return family;
}

Result<void> refuse_unsupported(const json& document, const Metadata& source,
                                const StoredFamily& family) {
  DUNLIN_ASSIGN_OR_RETURN(const auto quantization,
                          read_quantization_config(document, source.origin()));
  if (quantization && quantization->method == "mxfp4" && !family.mixture) {
    return model_error(
        fmt::format("{}: quantization_config.quant_method \"mxfp4\" is for experts, and a {} model "
                    "has none",
                    source.origin(), family.model_type));
  }
  DUNLIN_ASSIGN_OR_RETURN(const bool sliding, source.boolean_or("use_sliding_window", false));
  if (sliding)
    return model_error(fmt::format("{}: use_sliding_window is not supported", source.origin()));
  DUNLIN_ASSIGN_OR_RETURN(const std::string act, source.text_or("hidden_act", "silu"));
  if (act != "silu") {
    return model_error(fmt::format("{}: hidden_act {} is not supported; supported: silu",
                                   source.origin(), quoted_text(act)));
  }
  return {};
}

void warn_of_ignored(const json& document, const std::string& origin, std::string_view model_type) {
  if (value_or_null(document, "auto_map").is_null()) return;
  log_warning(
      fmt::format("{}: auto_map names Python code, which is never run; the model is read as {}",
                  origin, model_type));
}

Result<void> copy_llama3_scaling(Metadata& config, const Metadata& rope) {
  struct Number {
    const char* key;
    double low;
    double high;
  };
  for (const Number& field : {Number{"factor", 1, 1e6}, Number{"low_freq_factor", 1e-6, 1e6},
                              Number{"high_freq_factor", 1e-6, 1e6}}) {
    DUNLIN_ASSIGN_OR_RETURN(const double value, rope.number(field.key, field.low, field.high));
    config.set(std::string("rope_scaling.") + field.key, value);
  }
  DUNLIN_ASSIGN_OR_RETURN(const int64_t original,
                          rope.integer("original_max_position_embeddings", 1, 1 << 30));
  config.set("rope_scaling.original_max_position_embeddings", original);
  DUNLIN_ASSIGN_OR_RETURN(const double low, rope.number("low_freq_factor", 0, 1e6));
  DUNLIN_ASSIGN_OR_RETURN(const double high, rope.number("high_freq_factor", 0, 1e6));
  if (high <= low) {
    return model_error(fmt::format("{}: high_freq_factor {} is not above low_freq_factor {}",
                                   rope.origin(), high, low));
  }
  return {};
}

// attention_factor may be given by the two factors it is the quotient of.
Result<std::optional<double>> yarn_attention_factor(const Metadata& rope) {
  if (rope.has("attention_factor")) {
    DUNLIN_ASSIGN_OR_RETURN(const double given, rope.number("attention_factor", 1e-3, 1e3));
    return std::optional(given);
  }
  DUNLIN_ASSIGN_OR_RETURN(const double factor, rope.number("factor", 1, 1e6));
  DUNLIN_ASSIGN_OR_RETURN(const double scale, rope.number_or("mscale", 0, 1e3, 0));
  DUNLIN_ASSIGN_OR_RETURN(const double all, rope.number_or("mscale_all_dim", 0, 1e3, 0));
  if (scale == 0.0 || all == 0.0) return std::optional<double>();
  const auto of = [factor](double each) { return 0.1 * each * std::log(factor) + 1.0; };
  return std::optional(of(scale) / of(all));
}

Result<void> copy_yarn_scaling(Metadata& config, const Metadata& rope) {
  DUNLIN_ASSIGN_OR_RETURN(const double factor, rope.number("factor", 1, 1e6));
  config.set("rope_scaling.factor", factor);
  for (const auto& [key, fallback] : {std::pair("beta_fast", 32.0), std::pair("beta_slow", 1.0)}) {
    DUNLIN_ASSIGN_OR_RETURN(const double value, rope.number_or(key, 1e-6, 1e6, fallback));
    config.set(std::string("rope_scaling.") + key, value);
  }
  DUNLIN_ASSIGN_OR_RETURN(const bool truncate, rope.boolean_or("truncate", true));
  config.set("rope_scaling.truncate", truncate);
  DUNLIN_ASSIGN_OR_RETURN(const auto attention, yarn_attention_factor(rope));
  if (attention) config.set("rope_scaling.attention_factor", *attention);
  DUNLIN_ASSIGN_OR_RETURN(const int64_t original,
                          rope.integer("original_max_position_embeddings", 1, 1 << 30));
  config.set("rope_scaling.original_max_position_embeddings", original);
  return {};
}

// The scaling that GPT-OSS has without a word in config.json.
void set_yarn_of_gpt_oss(Metadata& config) {
  config.set("rope_scaling.rope_type", std::string("yarn"));
  config.set("rope_scaling.factor", 32.0);
  config.set("rope_scaling.beta_fast", 32.0);
  config.set("rope_scaling.beta_slow", 1.0);
  config.set("rope_scaling.truncate", false);
  config.set("rope_scaling.original_max_position_embeddings", int64_t{4096});
}

// rope_parameters (transformers 5) holds the base frequency too; rope_scaling (before) only the
// scaling.
Result<void> read_rope(Metadata& config, const json& document, const std::string& origin,
                       const StoredFamily& family) {
  const bool modern = !value_or_null(document, "rope_parameters").is_null();
  const char* key = modern ? "rope_parameters" : "rope_scaling";
  const json& object = value_or_null(document, key);
  config.set("rope_scaling.rope_type", std::string("default"));
  if (object.is_null()) {
    if (family.yarn_by_default) set_yarn_of_gpt_oss(config);
    return {};
  }
  if (!object.is_object()) return model_error(fmt::format("{}: {} is not an object", origin, key));
  for (const auto& [name, value] : object.items()) {
    if (value.is_object()) {
      return model_error(
          fmt::format("{}: {}.{} is an object; settings per kind of layer are not supported",
                      origin, key, quoted_text(name)));
    }
  }
  const Metadata rope = scalars(object, fmt::format("{}: {}", origin, key));
  if (modern && rope.has("rope_theta")) {
    DUNLIN_ASSIGN_OR_RETURN(const double theta, rope.number("rope_theta", 1, 1e12));
    config.set("rope_theta", theta);
  }
  DUNLIN_ASSIGN_OR_RETURN(const std::string old_type, rope.text_or("type", "default"));
  DUNLIN_ASSIGN_OR_RETURN(const std::string type, rope.text_or("rope_type", old_type));
  if (type == "default") return {};
  if (type != "llama3" && type != "yarn") {
    return model_error(
        fmt::format("{}: {}.rope_type {} is not supported; supported: default, llama3, yarn",
                    origin, key, quoted_text(type)));
  }
  config.set("rope_scaling.rope_type", type);
  return type == "yarn" ? copy_yarn_scaling(config, rope) : copy_llama3_scaling(config, rope);
}

// An id or a list of ids.
Result<std::vector<int64_t>> read_ids(const json& document, const char* key,
                                      const std::string& origin) {
  const json& value = value_or_null(document, key);
  if (value.is_null()) return std::vector<int64_t>{};
  std::vector<int64_t> ids;
  std::span<const json> elements(&value, 1);
  if (value.is_array()) elements = value.get_ref<const json::array_t&>();
  for (const json& element : elements) {
    if (!element.is_number_integer() || element < 0 || element > INT32_MAX) {
      return model_error(fmt::format("{}: {} is not a token id or a list of them", origin, key));
    }
    ids.push_back(element.get<int64_t>());
  }
  return ids;
}

Result<void> read_eos(Metadata& config, const json& document, const std::string& origin) {
  DUNLIN_ASSIGN_OR_RETURN(const auto ids, read_ids(document, "eos_token_id", origin));
  for (const int64_t id : ids) DUNLIN_RETURN_IF_ERROR(add_eos_token(config, id));
  return {};
}

Result<void> read_bos(Metadata& config, const json& document, const std::string& origin) {
  DUNLIN_ASSIGN_OR_RETURN(const auto ids, read_ids(document, "bos_token_id", origin));
  if (!ids.empty()) config.set("bos_token_id", ids.front());
  return {};
}

// Names that the model knows what to make of.
Result<void> read_layer_types(Metadata& config, const json& document) {
  const json& list = value_or_null(document, "layer_types");
  if (list.is_null()) return {};
  std::vector<std::string> types;
  const bool texts =
      list.is_array() && std::ranges::all_of(list, [](const json& each) {
        return each.is_string() && is_visible_ascii(each.get_ref<const std::string&>());
      });
  if (!texts)
    return model_error(fmt::format("{}: layer_types is not a list of names", config.origin()));
  for (const json& each : list) types.push_back(each.get<std::string>());
  config.set("layer_types", std::move(types));
  return {};
}

Result<void> read_switches(Metadata& config, const Metadata& source, const StoredFamily& family) {
  DUNLIN_ASSIGN_OR_RETURN(const bool tied, source.boolean_or("tie_word_embeddings", false));
  config.set("tie_word_embeddings", tied);
  DUNLIN_ASSIGN_OR_RETURN(const bool attention_bias,
                          source.boolean_or("attention_bias", family.mixture));
  config.set("attention_bias", attention_bias);
  DUNLIN_ASSIGN_OR_RETURN(const bool mlp_bias, source.boolean_or("mlp_bias", false));
  config.set("mlp_bias", mlp_bias);
  config.set("hidden_act", std::string("silu"));
  return {};
}

// The ids that stand for missing keys: DreamConfig of the published configuration_dream.py.
Result<void> read_masked_diffusion(Metadata& config, const Metadata& source) {
  DUNLIN_ASSIGN_OR_RETURN(const int64_t mask,
                          source.integer_or("mask_token_id", 0, INT32_MAX, 151666));
  DUNLIN_ASSIGN_OR_RETURN(const int64_t pad,
                          source.integer_or("pad_token_id", 0, INT32_MAX, 151643));
  config.set("mask_token_id", mask);
  config.set("pad_token_id", pad);
  config.set("diffusion.shift_logits", true);
  return {};
}

}  // namespace

Result<Metadata> read_hf_config(const ConfigText& config_text,
                                const std::optional<ConfigText>& generation_text) {
  DUNLIN_ASSIGN_OR_RETURN(OwnedJson<json> parsed,
                          parse_json_object(config_text.text, config_text.origin));
  translate_openai(parsed.value);
  const json& document = parsed.value;
  Metadata source = scalars(document, config_text.origin);
  DUNLIN_ASSIGN_OR_RETURN(const StoredFamily* const family, read_family(document, source));
  add_other_spellings(source);
  DUNLIN_RETURN_IF_ERROR(refuse_unsupported(document, source, *family));
  warn_of_ignored(document, config_text.origin, family->model_type);
  DUNLIN_ASSIGN_OR_RETURN(Metadata config,
                          canonical_config(source, ConfigSpelling::hugging_face, *family));
  DUNLIN_ASSIGN_OR_RETURN(const auto quantization,
                          read_quantization_config(document, config_text.origin));
  if (quantization && quantization->method == "mxfp4")
    config.set("quantization_config.quant_method", quantization->method);
  DUNLIN_RETURN_IF_ERROR(read_switches(config, source, *family));
  DUNLIN_RETURN_IF_ERROR(read_rope(config, document, config_text.origin, *family));
  if (family->windows) DUNLIN_RETURN_IF_ERROR(read_layer_types(config, document));
  DUNLIN_RETURN_IF_ERROR(read_bos(config, document, config_text.origin));
  DUNLIN_RETURN_IF_ERROR(read_eos(config, document, config_text.origin));
  if (family->masked_diffusion) DUNLIN_RETURN_IF_ERROR(read_masked_diffusion(config, source));
  if (generation_text) {
    DUNLIN_ASSIGN_OR_RETURN(const OwnedJson<json> parsed_generation,
                            parse_json_object(generation_text->text, generation_text->origin));
    const json& generation = parsed_generation.value;
    DUNLIN_RETURN_IF_ERROR(read_eos(config, generation, generation_text->origin));
    const Metadata values = scalars(generation, generation_text->origin);
    DUNLIN_RETURN_IF_ERROR(add_generation(config, values, ConfigSpelling::hugging_face));
  }
  return config;
}

Result<std::optional<QuantizationConfig>> read_hf_quantization(const ConfigText& config) {
  DUNLIN_ASSIGN_OR_RETURN(const OwnedJson<json> parsed,
                          parse_json_object(config.text, config.origin));
  DUNLIN_ASSIGN_OR_RETURN(auto quantization, read_quantization_config(parsed.value, config.origin));
  if (quantization && quantization->method == "mxfp4") quantization.reset();
  return quantization;
}

}  // namespace dunlin
