#include "convert/choose_formats.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>

namespace dunlin {
namespace {

// Biases of a stack of experts are none; a mixture's router stays as it is.
bool is_gguf_matrix(const TensorPlan& tensor) {
  return tensor.shape.size() > 1 && !tensor.name.ends_with(".bias") &&
         tensor.name.find(".ffn_gate_inp.") == std::string::npos;
}

// What the mixes look at.
struct ModelShape {
  int64_t layers, heads, kv_heads;
  std::string model_type;
  bool tied;  // the embedding stands for the output

  // Eight query heads share a value there: more bits for it cost little. llama.cpp knows the models
  // by their 80 layers.
  bool is_70b() const { return layers == 80 && (model_type == "qwen2" || heads != kv_heads); }
};

Result<ModelShape> shape_of(const Metadata& config, const std::vector<TensorPlan>& tensors) {
  ModelShape shape = {};
  DUNLIN_ASSIGN_OR_RETURN(shape.layers, config.integer("num_hidden_layers", 1, 4096));
  DUNLIN_ASSIGN_OR_RETURN(shape.heads, config.integer("num_attention_heads", 1, 1 << 14));
  DUNLIN_ASSIGN_OR_RETURN(shape.kv_heads, config.integer("num_key_value_heads", 1, 1 << 14));
  DUNLIN_ASSIGN_OR_RETURN(shape.model_type, config.text("model_type"));
  shape.tied = std::ranges::find(tensors, "output.weight", &TensorPlan::name) == tensors.end();
  return shape;
}

// "blk.12.attn_v.weight": layer 12, attn_v.
struct LayerName {
  int64_t layer = 0;
  std::string_view part;  // empty for a tensor outside the layers
};

LayerName parse_layer_name(std::string_view name) {
  constexpr std::string_view kLayer = "blk.";
  LayerName parsed;
  if (!name.starts_with(kLayer)) return parsed;
  const char* const end = name.data() + name.size();
  const auto [dot, code] = std::from_chars(name.data() + kLayer.size(), end, parsed.layer);
  if (code != std::errc() || dot == end) return parsed;
  parsed.part = std::string_view(dot + 1, end);
  parsed.part = parsed.part.substr(0, parsed.part.find('.'));
  return parsed;
}

// The first and last eighth of the layers, and every third between.
bool has_more_bits(int64_t layer, int64_t layers) {
  const int64_t eighth = layers / 8;
  return layer < eighth || layer >= 7 * layers / 8 || (layer - eighth) % 3 == 2;
}

Format value_format(Mix mix, Format base, int64_t layer, const ModelShape& shape) {
  switch (mix) {
    case Mix::q2_k:
      return shape.heads / shape.kv_heads >= 4 ? Format::q4_k : Format::q3_k;
    case Mix::q3_k_m:
      return layer < 2 ? Format::q5_k : Format::q4_k;
    case Mix::q3_k_l:
      return Format::q5_k;
    case Mix::q4_k_s:
      return layer < 4 ? Format::q5_k : base;
    case Mix::q4_k_m:
    case Mix::q5_k_m:
      return has_more_bits(layer, shape.layers) ? Format::q6_k : base;
    case Mix::none:
      break;
  }
  return base;
}

Format down_format(Mix mix, Format base, int64_t layer, const ModelShape& shape) {
  switch (mix) {
    case Mix::q2_k:
      return Format::q3_k;
    case Mix::q3_k_m:
      return layer < shape.layers / 16 ? Format::q5_k : Format::q4_k;
    case Mix::q3_k_l:
      return Format::q5_k;
    case Mix::q4_k_s:
      return layer < shape.layers / 8 ? Format::q5_k : base;
    case Mix::q4_k_m:
    case Mix::q5_k_m:
      return has_more_bits(layer, shape.layers) ? Format::q6_k : base;
    case Mix::none:
      break;
  }
  return base;
}

Format attention_output_format(Mix mix, Format base) {
  switch (mix) {
    case Mix::q2_k:
      return Format::q3_k;
    case Mix::q3_k_m:
      return Format::q4_k;
    case Mix::q3_k_l:
      return Format::q5_k;
    default:
      return base;
  }
}

// The matrix that makes the logits: its errors are felt most.
Format output_format(Format base, int64_t columns) {
  if (base == Format::mxfp4 || columns % traits(base).block_elements != 0) return Format::q8_0;
  return base == Format::q8_0 ? base : Format::q6_k;
}

class Chooser {
 public:
  Chooser(const FormatOptions& options, ModelShape shape, TensorRules rules)
      : options_(options), shape_(std::move(shape)), rules_(std::move(rules)) {}

  // What the options and the mix say, whether or not the rows are whole blocks of it.
  Format wanted(const TensorPlan& tensor) {
    const bool output = tensor.name == "output.weight";
    const bool embedding = tensor.name == "token_embd.weight";
    const bool makes_logits = output || (embedding && shape_.tied);
    if (output && options_.keep_output) return tensor.format;
    if (embedding && options_.token_embedding) return *options_.token_embedding;
    if (makes_logits && options_.output) return *options_.output;
    if (const auto format = rules_.find(tensor.name)) return *format;
    const auto base = options_.type->format;
    if (!base) return tensor.format;
    if (traits(*base).block_elements == 1 || options_.pure) return *base;
    return makes_logits ? output_format(*base, tensor.view.columns) : in_mix(*base, tensor.name);
  }

  Result<void> check_rules() const { return rules_.check_all_used(); }

 private:
  Format in_mix(Format base, std::string_view name) const {
    const LayerName parsed = parse_layer_name(name);
    const Mix mix = options_.type->mix;
    if (parsed.part == "attn_v") {
      const Format format = value_format(mix, base, parsed.layer, shape_);
      const bool few_bits = format == Format::q3_k || format == Format::q4_k;
      return shape_.is_70b() && few_bits ? Format::q5_k : format;
    }
    if (parsed.part == "ffn_down") {
      // With an importance matrix the first eighth may go astray without minima.
      const bool first = options_.imatrix && parsed.layer < shape_.layers / 8;
      if (first && base == Format::q4_0) return Format::q4_1;
      if (first && base == Format::q5_0) return Format::q5_1;
      return down_format(mix, base, parsed.layer, shape_);
    }
    if (parsed.part == "attn_output") return attention_output_format(mix, base);
    return base;
  }

  const FormatOptions& options_;
  ModelShape shape_;
  TensorRules rules_;
};

// A format of smaller blocks where `columns` are not whole blocks.
Format fitting(Format wanted, int64_t columns) {
  const auto fits = [columns](Format format) {
    return columns % traits(format).block_elements == 0;
  };
  if (fits(wanted)) return wanted;
  Format smaller = Format::f16;
  switch (wanted) {
    case Format::q2_k:
    case Format::q3_k:
      smaller = Format::q4_0;
      break;
    case Format::q4_k:
      smaller = Format::q5_0;
      break;
    case Format::q5_k:
      smaller = Format::q5_1;
      break;
    case Format::q6_k:
      smaller = Format::q8_0;
      break;
    default:
      break;
  }
  return fits(smaller) ? smaller : Format::f16;
}

}  // namespace

Result<std::vector<Fallback>> choose_formats(const Metadata& config, const FormatOptions& options,
                                             std::vector<TensorPlan>& tensors) {
  DUNLIN_ASSIGN_OR_RETURN(ModelShape shape, shape_of(config, tensors));
  DUNLIN_ASSIGN_OR_RETURN(TensorRules rules, TensorRules::compile(options.rules));
  Chooser chooser(options, std::move(shape), std::move(rules));
  std::vector<Fallback> fallbacks;
  for (TensorPlan& tensor : tensors) {
    if (!is_gguf_matrix(tensor)) continue;
    const Format wanted = chooser.wanted(tensor);
    tensor.format = fitting(wanted, tensor.view.columns);
    if (tensor.format != wanted)
      fallbacks.push_back({tensor.name, tensor.view.columns, wanted, tensor.format});
  }
  DUNLIN_RETURN_IF_ERROR(chooser.check_rules());
  return fallbacks;
}

Result<void> refuse_requantizing(const std::vector<TensorPlan>& tensors) {
  const auto again = std::ranges::find_if(tensors, [](const TensorPlan& tensor) {
    const FormatTraits& from = traits(tensor.view.format);
    // What lies in files with scales beside it has no other original where its numbers are plain.
    if (from.largest > 0.0f) return !traits(tensor.format).is_plain();
    return !from.is_plain() && tensor.view.format != tensor.format;
  });
  if (again == tensors.end()) return {};
  return usage_error(fmt::format(
      "{}: the tensor {} is in {} already; quantising it again to {} loses more than quantising "
      "the original does (--allow-requantize does it all the same)",
      again->view.source->name(), again->name, traits(again->view.format).name,
      traits(again->format).name));
}

}  // namespace dunlin
