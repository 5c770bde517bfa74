#include "checkpoint/weight_parts.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <iterator>
#include <span>
#include <string_view>
#include <utility>

#include "checkpoint/gguf_names.h"
#include "checkpoint/tensor_checks.h"

namespace dunlin {
namespace {

enum class Spelling { hugging_face, openai, gguf, ollama };

enum class Order {
  same,
  one_behind_another,      // along the first dimension
  interleaved,             // gate and up in turn
  halves,                  // gate, then up
  transposed,              // the other way round
  transposed_interleaved,  // that, with columns of gate and up in turn
};

struct StoredWeights {
  Spelling spelling;
  std::string_view stored;                  // behind the number of the layer
  std::array<std::string_view, 3> weights;  // canonical names, behind it; empty ones are none
  Order order;
};

constexpr std::string_view kGate = "mlp.experts.gate_proj.weight";
constexpr std::string_view kUp = "mlp.experts.up_proj.weight";
constexpr std::string_view kDown = "mlp.experts.down_proj.weight";
constexpr std::string_view kGateBias = "mlp.experts.gate_proj.bias";
constexpr std::string_view kUpBias = "mlp.experts.up_proj.bias";
constexpr std::string_view kDownBias = "mlp.experts.down_proj.bias";

using enum Spelling;

constexpr StoredWeights kLayers[] = {
    {hugging_face, "mlp.experts.gate_up_proj_blocks", {kGate, kUp}, Order::interleaved},
    {hugging_face, "mlp.experts.gate_up_proj", {kGate, kUp}, Order::transposed_interleaved},
    {hugging_face, "mlp.experts.gate_up_proj_bias", {kGateBias, kUpBias}, Order::interleaved},
    {hugging_face, "mlp.experts.down_proj_blocks", {kDown}, Order::same},
    {hugging_face, "mlp.experts.down_proj", {kDown}, Order::transposed},
    {hugging_face, "mlp.experts.down_proj_bias", {kDownBias}, Order::same},
    {openai, "attn.norm.scale", {"input_layernorm.weight"}, Order::same},
    {openai,
     "attn.qkv.weight",
     {"self_attn.q_proj.weight", "self_attn.k_proj.weight", "self_attn.v_proj.weight"},
     Order::one_behind_another},
    {openai,
     "attn.qkv.bias",
     {"self_attn.q_proj.bias", "self_attn.k_proj.bias", "self_attn.v_proj.bias"},
     Order::one_behind_another},
    {openai, "attn.sinks", {"self_attn.sinks"}, Order::same},
    {openai, "attn.out.weight", {"self_attn.o_proj.weight"}, Order::same},
    {openai, "attn.out.bias", {"self_attn.o_proj.bias"}, Order::same},
    {openai, "mlp.norm.scale", {"post_attention_layernorm.weight"}, Order::same},
    {openai, "mlp.gate.weight", {"mlp.router.weight"}, Order::same},
    {openai, "mlp.gate.bias", {"mlp.router.bias"}, Order::same},
    {openai, "mlp.mlp1_weight.blocks", {kGate, kUp}, Order::interleaved},
    {openai, "mlp.mlp1_bias", {kGateBias, kUpBias}, Order::interleaved},
    {openai, "mlp.mlp2_weight.blocks", {kDown}, Order::same},
    {openai, "mlp.mlp2_bias", {kDownBias}, Order::same},
    {gguf, "ffn_gate_up_exps.weight", {kGate, kUp}, Order::halves},
    {gguf, "ffn_gate_up_exps.bias", {kGateBias, kUpBias}, Order::halves},
    {ollama, "attn_sinks", {"self_attn.sinks"}, Order::same},
    {ollama, "attn_out.weight", {"self_attn.o_proj.weight"}, Order::same},
    {ollama, "attn_out.bias", {"self_attn.o_proj.bias"}, Order::same},
    {ollama,
     "attn_qkv.weight",
     {"self_attn.q_proj.weight", "self_attn.k_proj.weight", "self_attn.v_proj.weight"},
     Order::one_behind_another},
    {ollama,
     "attn_qkv.bias",
     {"self_attn.q_proj.bias", "self_attn.k_proj.bias", "self_attn.v_proj.bias"},
     Order::one_behind_another},
    {ollama, "ffn_norm.weight", {"post_attention_layernorm.weight"}, Order::same},
    {ollama, "ffn_gate_up_exps.weight", {kGate, kUp}, Order::interleaved},
    {ollama, "ffn_gate_up_exps.bias", {kGateBias, kUpBias}, Order::interleaved},
};

constexpr StoredWeights kGlobals[] = {
    {openai, "embedding.weight", {"model.embed_tokens.weight"}, Order::same},
    {openai, "norm.scale", {"model.norm.weight"}, Order::same},
    {openai, "unembedding.weight", {"lm_head.weight"}, Order::same},
};

constexpr std::string_view kCanonicalLayer = "model.layers.";
constexpr std::pair<Spelling, std::string_view> kPrefixes[] = {
    {hugging_face, kCanonicalLayer}, {openai, "block."}, {gguf, "blk."}, {ollama, "blk."}};

// The number of a layer and what stands behind it; both empty for other names.
struct LayerName {
  std::string_view layer, rest;
};

LayerName split(std::string_view name, std::string_view prefix) {
  if (!name.starts_with(prefix)) return {};
  const std::string_view digits = layer_digits(name.substr(prefix.size()));
  if (digits.empty()) return {};
  return {digits, name.substr(prefix.size() + digits.size() + 1)};
}

// A row of the tables and the number of the layer it is in; none for other names.
struct Found {
  const StoredWeights* row = nullptr;
  std::string_view layer = {};
};

// Whether files of the container have names of this spelling; those of ollama others, too, which are
// GGUF's.
bool is_spelled(Spelling spelling, const StoredFamily& family, bool gguf_names) {
  if (!gguf_names) return spelling == hugging_face || spelling == openai;
  return spelling == (family.ollama_names ? ollama : gguf);
}

Found find(std::string_view name, const StoredFamily& family, bool gguf_names) {
  const auto* const whole = std::ranges::find(kGlobals, name, &StoredWeights::stored);
  if (!gguf_names && whole != std::end(kGlobals)) return {whole, {}};
  for (const auto& [spelling, prefix] : kPrefixes) {
    if (!is_spelled(spelling, family, gguf_names)) continue;
    const LayerName parsed = split(name, prefix);
    for (const StoredWeights& row : kLayers) {
      if (row.spelling == spelling && row.stored == parsed.rest) return {&row, parsed.layer};
    }
  }
  return {};
}

bool is_openai(std::string_view name) {
  return name.starts_with("block.") ||
         std::ranges::find(kGlobals, name, &StoredWeights::stored) != std::end(kGlobals);
}

bool is_transposed(Order order) {
  return order == Order::transposed || order == Order::transposed_interleaved;
}

// Of the tensor that holds parts of these shapes.
std::vector<int64_t> stored_shape(Order order, const std::vector<WeightPart>& parts) {
  std::vector<int64_t> shape = parts.front().shape;
  const size_t grows = order == Order::one_behind_another ? 0 : 1;
  for (size_t i = 1; i < parts.size(); ++i) shape[grows] += parts[i].shape[grows];
  if (is_transposed(order)) std::swap(shape[1], shape[2]);
  return shape;
}

// Experts that lie the other way round, [experts, columns, rows].
StridedLayout transposed_layout(const TensorInfo& tensor) {
  StridedLayout layout;
  layout.element_bytes = traits(tensor.format).block_bytes;
  layout.stacks = tensor.shape[0];
  layout.rows = tensor.shape[2];
  layout.columns = tensor.shape[1];
  layout.row_stride = 1;
  layout.column_stride = layout.rows;
  layout.stack_stride = layout.rows * layout.columns;
  layout.offset = tensor.offset;
  return layout;
}

// Elements are whole rows, or those of a bias.
StridedLayout row_layout(Order order, int64_t number, const std::vector<int64_t>& shape,
                         const TensorInfo& tensor) {
  const FormatTraits& format = traits(tensor.format);
  const bool matrices = shape.size() == 3;
  StridedLayout layout;
  layout.element_bytes = matrices ? row_bytes(format, shape[2]) : format.block_bytes;
  layout.stacks = shape[0];
  layout.columns = shape[1];
  layout.column_stride = order == Order::interleaved ? 2 : 1;
  layout.stack_stride = 2 * shape[1];
  const int64_t first = order == Order::interleaved ? number : number * shape[1];
  layout.offset = tensor.offset + static_cast<uint64_t>(first * layout.element_bytes);
  return layout;
}

// Rows [first, first + rows) of a matrix or a vector.
StridedLayout slice_layout(int64_t first, const std::vector<int64_t>& shape,
                           const TensorInfo& tensor) {
  const FormatTraits& format = traits(tensor.format);
  StridedLayout layout;
  layout.element_bytes = shape.size() == 2 ? row_bytes(format, shape[1]) : format.block_bytes;
  layout.columns = shape[0];
  layout.offset = tensor.offset + static_cast<uint64_t>(first * layout.element_bytes);
  return layout;
}

void add_layouts(Order order, const TensorInfo& tensor, std::vector<WeightPart>& parts) {
  if (order == Order::same) return;
  int64_t rows = 0;  // of the parts so far
  for (size_t i = 0; i < parts.size(); ++i) {
    const std::vector<int64_t>& shape = parts[i].shape;
    const auto number = static_cast<int64_t>(i);
    const bool whole_rows_in_turn = order == Order::interleaved && shape.size() == 3;
    if (is_transposed(order) || whole_rows_in_turn)
      parts[i].row_map = {.offset = number, .stride = std::ssize(parts)};
    if (is_transposed(order)) {
      parts[i].layout = transposed_layout(tensor);
    } else if (order == Order::one_behind_another) {
      parts[i].layout = slice_layout(rows, shape, tensor);
    } else if (!whole_rows_in_turn) {
      parts[i].layout = row_layout(order, number, shape, tensor);
    }
    rows += shape.front();
  }
}

Result<void> check(Order order, const TensorInfo& tensor, const std::vector<WeightPart>& parts) {
  const std::vector<int64_t> expected = stored_shape(order, parts);
  DUNLIN_RETURN_IF_ERROR(check_tensor_shape(tensor, expected));
  // A part would be read with the scales of the first rows.
  if (parts.size() > 1 && traits(tensor.format).largest > 0.0f) {
    return tensor_error(
        tensor, fmt::format("holds several weights in {}, whose scales cannot be told apart",
                            traits(tensor.format).name));
  }
  const bool stacked_bias = order != Order::one_behind_another && expected.size() == 2;
  const bool moves_elements =
      is_transposed(order) || (parts.size() > 1 && (stacked_bias || expected.size() == 1));
  if (moves_elements && traits(tensor.format).block_elements != 1) {
    return tensor_error(
        tensor, fmt::format("is in {}, which cannot be put in order", traits(tensor.format).name));
  }
  return {};
}

// In which of several ways the files of a model hold its weights, as far as their tensors tell.
class Habits {
 public:
  Habits(const StoredFamily& family, bool gguf_names, const Metadata& config,
         std::span<const TensorInfo> tensors)
      : tensors_(tensors) {
    if (gguf_names) {
      spelling_ = family.ollama_names ? ollama : gguf;
    } else if (any(is_openai)) {
      spelling_ = openai;
    }
    const auto is_plain = [](std::string_view name) {
      return name.ends_with(".gate_up_proj") || name.ends_with(".down_proj");
    };
    pairs_ = any([](std::string_view name) { return name.ends_with("_proj_blocks"); }) ||
             (config.has("quantization_config.quant_method") && !any(is_plain));
  }

  // Whether a weight would be where the row says.
  bool have(const StoredWeights& row) const {
    if (row.spelling != spelling_) return false;
    const bool blocks = row.stored.ends_with("_blocks");
    if (spelling_ == hugging_face) return blocks ? pairs_ : !is_transposed(row.order) || !pairs_;
    if (spelling_ == openai || row.weights[1].empty()) return true;
    // Gate and up, or queries, keys and values, are in one tensor in some GGUF files.
    const std::string_view stem = row.stored.substr(0, row.stored.find('.') + 1);
    return any([stem](std::string_view name) { return name.find(stem) != name.npos; });
  }

  std::string spell(const StoredWeights& row, std::string_view layer) const {
    if (layer.empty()) return std::string(row.stored);
    const auto* const prefix =
        std::ranges::find(kPrefixes, spelling_, [](const auto& each) { return each.first; });
    return fmt::format("{}{}.{}", prefix->second, layer, row.stored);
  }

 private:
  template <typename Holds>
  bool any(Holds holds) const {
    return std::ranges::any_of(tensors_, holds, &TensorInfo::name);
  }

  std::span<const TensorInfo> tensors_;
  Spelling spelling_ = hugging_face;
  bool pairs_ = false;  // experts are blocks and scales
};

}  // namespace

Result<std::vector<WeightPart>> weight_parts(const StoredFamily& family, bool gguf_names,
                                             const TensorInfo& tensor, const Metadata& config) {
  std::vector<WeightPart> parts;
  if (!family.mixture) return parts;
  const Found found = find(tensor.name, family, gguf_names);
  if (found.row == nullptr) return parts;
  for (const std::string_view weight : found.row->weights) {
    if (weight.empty()) continue;
    WeightPart part;
    if (!found.layer.empty()) part.name = fmt::format("{}{}.", kCanonicalLayer, found.layer);
    part.name += weight;
    DUNLIN_ASSIGN_OR_RETURN(part.shape, canonical_shape(family, part.name, config));
    parts.push_back(std::move(part));
  }
  DUNLIN_RETURN_IF_ERROR(check(found.row->order, tensor, parts));
  add_layouts(found.row->order, tensor, parts);
  return parts;
}

std::string name_in_files(const StoredFamily& family, bool gguf_names, const Metadata& config,
                          std::span<const TensorInfo> tensors, const std::string& canonical_name) {
  if (family.mixture) {
    const Habits habits(family, gguf_names, config, tensors);
    const LayerName parsed = split(canonical_name, kCanonicalLayer);
    const bool global = parsed.layer.empty();
    const std::string_view weight = global ? std::string_view(canonical_name) : parsed.rest;
    const std::span<const StoredWeights> rows =
        global ? std::span<const StoredWeights>(kGlobals) : std::span<const StoredWeights>(kLayers);
    for (const StoredWeights& row : rows) {
      if (std::ranges::find(row.weights, weight) != row.weights.end() && habits.have(row))
        return habits.spell(row, parsed.layer);
    }
  }
  if (!gguf_names) return canonical_name;
  return gguf_tensor_name(family, canonical_name).value_or(canonical_name);
}

}  // namespace dunlin
