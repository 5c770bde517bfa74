#include "convert/hf_quantization.h"

#include <fmt/format.h>

#include <algorithm>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

#include "checkpoint/families.h"

namespace dunlin {
namespace {

using Json = nlohmann::ordered_json;

constexpr std::string_view kWeight = ".weight";

// What a matrix is when it is not quantised.
Format plain_format(Format stored) {
  return traits(stored).is_plain() ? stored : Format::bf16;
}

Result<void> check_options(const FormatOptions& options) {
  const QuantizeType& type = *options.type;
  const auto refuse = [&type](const char* flag, const char* why) {
    return usage_error(fmt::format("{} with {}: {}", flag, type.name, why));
  };
  if (options.imatrix) {
    return refuse("--imatrix",
                  "the scale is that of the largest weight, and each weight its nearest number; "
                  "importance chooses nothing");
  }
  if (options.pure)
    return refuse("--pure", "other programs expect the embedding and the output as they are");
  for (const auto& [flag, format] :
       {std::pair{"--output-tensor-type", options.output},
        std::pair{"--token-embedding-type", options.token_embedding}}) {
    if (format && !traits(*format).is_plain()) return refuse(flag, "F32, F16 or BF16");
  }
  for (const TensorRule& rule : options.rules) {
    if (!traits(rule.format).is_plain() && rule.format != *type.format) {
      return usage_error(fmt::format("--tensor-type {}={}: with {} that is F32, F16, BF16 or {}",
                                     rule.pattern, traits(rule.format).name, type.name,
                                     traits(*type.format).name));
    }
  }
  return {};
}

class ScaledChooser {
 public:
  ScaledChooser(const FormatOptions& options, TensorRules rules, std::vector<Fallback>& fallbacks)
      : options_(options), rules_(std::move(rules)), fallbacks_(fallbacks) {}

  Format choose(const std::string& name, const WeightView& view) {
    const Format plain = plain_format(view.format);
    if (name == "model.embed_tokens.weight") return options_.token_embedding.value_or(plain);
    if (name == "lm_head.weight") return options_.output.value_or(plain);
    const Format wanted = rules_.find(name).value_or(*options_.type->format);
    if (view.columns % traits(wanted).block_elements == 0) return wanted;
    fallbacks_.push_back({name, view.columns, wanted, plain});
    return plain;
  }

  Result<void> check_rules() const { return rules_.check_all_used(); }

 private:
  const FormatOptions& options_;
  TensorRules rules_;
  std::vector<Fallback>& fallbacks_;
};

// Whether the type is one of compressed-tensors'; the others are forms of "fp8".
bool is_compressed_tensors(const QuantizeType& type) {
  return type.scale_block == 0 && *type.format != Format::f8_e5m2;
}

TensorPlan scales_of(const TensorPlan& matrix, const QuantizeType& type) {
  TensorPlan plan = matrix;
  const bool inverse = type.scale_block > 0;  // so DeepSeek calls what multiplies the elements
  plan.name += inverse ? "_scale_inv" : "_scale";
  const auto blocks = [&type](int64_t extent) {
    return (extent + type.scale_block - 1) / type.scale_block;
  };
  plan.shape = inverse ? std::vector{blocks(matrix.shape[0]), blocks(matrix.shape[1])}
                       : std::vector{matrix.shape[0], int64_t{1}};
  plan.format = Format::f32;
  plan.scales = true;
  return plan;
}

std::string quantization_config(const QuantizeType& type, const std::vector<std::string>& plain) {
  if (!is_compressed_tensors(type)) {
    const Json block = type.scale_block > 0 ? Json({type.scale_block, type.scale_block}) : Json();
    return Json({{"quant_method", "fp8"},
                 {"fmt", *type.format == Format::f8_e5m2 ? "e5m2" : "e4m3"},
                 {"activation_scheme", "dynamic"},
                 {"weight_block_size", block},
                 {"modules_to_not_convert", plain}})
        .dump();
  }
  const bool integer = *type.format == Format::i8;
  const Json weights = {{"num_bits", 8},
                        {"type", integer ? "int" : "float"},
                        {"strategy", "channel"},
                        {"symmetric", true},
                        {"dynamic", false}};
  const Json group = {{"targets", Json::array({"Linear"})},
                      {"weights", weights},
                      {"input_activations", nullptr},
                      {"output_activations", nullptr}};
  return Json({{"quant_method", "compressed-tensors"},
               {"format", integer ? "int-quantized" : "float-quantized"},
               {"quantization_status", "compressed"},
               {"config_groups", {{"group_0", group}}},
               {"kv_cache_scheme", nullptr},
               {"ignore", plain}})
      .dump();
}

}  // namespace

Result<HfTensors> scaled_hf_tensors(const Checkpoint& checkpoint, const FormatOptions& options,
                                    std::vector<Fallback>& fallbacks) {
  DUNLIN_RETURN_IF_ERROR(check_options(options));
  const QuantizeType& type = *options.type;
  DUNLIN_ASSIGN_OR_RETURN(const StoredFamily* const family, stored_family(checkpoint.config()));
  if (family->mixture) {
    return usage_error(fmt::format(
        "{}: {} is for dense models, and a {} model has experts; a type of GGUF files, such as "
        "Q8_0, is for both",
        checkpoint.path(), type.name, family->model_type));
  }
  DUNLIN_ASSIGN_OR_RETURN(TensorRules rules, TensorRules::compile(options.rules));
  ScaledChooser chooser(options, std::move(rules), fallbacks);
  DUNLIN_ASSIGN_OR_RETURN(
      HfTensors result,
      hf_tensors_with(checkpoint, [&chooser](const std::string& name, const WeightView& view) {
        return chooser.choose(name, view);
      }));
  DUNLIN_RETURN_IF_ERROR(chooser.check_rules());
  std::vector<TensorPlan> tensors;
  std::vector<std::string> plain;
  for (TensorPlan& tensor : result.tensors) {
    const bool linear = tensor.shape.size() == 2 && tensor.name != "model.embed_tokens.weight";
    if (linear && tensor.format != *type.format)
      plain.push_back(tensor.name.substr(0, tensor.name.size() - kWeight.size()));
    if (tensor.format == *type.format)
      tensor.scaling =
          Scaling{*type.format, std::max<int64_t>(1, type.scale_block), type.scale_block};
    tensors.push_back(std::move(tensor));
    if (tensors.back().scaling) tensors.push_back(scales_of(tensors.back(), type));
  }
  result.tensors = std::move(tensors);
  result.quantization = quantization_config(type, plain);
  return result;
}

}  // namespace dunlin
