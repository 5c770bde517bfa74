#include "convert/hf_tensors.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <map>
#include <string_view>
#include <utility>

#include "checkpoint/families.h"
#include "convert/gguf_tensors.h"
#include "convert/hf_experts.h"

namespace dunlin {
namespace {

// Its place among the tensors: embedding, layers by their number, norm, output; then by name.
std::pair<int64_t, std::string_view> hf_place_of(const TensorPlan& tensor) {
  constexpr std::string_view kLayer = "model.layers.";
  int64_t place = INT64_MAX - 1;
  if (tensor.name.starts_with(kLayer)) place = std::atoll(tensor.name.c_str() + kLayer.size());
  if (tensor.name.starts_with("model.embed_tokens.")) place = -1;
  if (tensor.name.starts_with("lm_head.")) place = INT64_MAX;
  return {place, tensor.name};
}

// Of a mixture, neither the biases of all experts together nor the router, which GGUF files have in
// F32.
bool is_hf_matrix(const TensorPlan& tensor) {
  return tensor.shape.size() > 1 && !tensor.name.ends_with("bias") &&
         !tensor.name.ends_with(".mlp.router.weight");
}

// Whether every element of a vector, or of what is kept like one, is the same in `format`.
Result<bool> holds_exactly(const WeightView& vector, Format format) {
  std::vector<std::byte> stored(static_cast<size_t>(vector.rows * vector.bytes_per_row()));
  DUNLIN_RETURN_IF_ERROR(vector.read_rows(0, vector.rows, stored));
  const int64_t count = vector.rows * vector.columns;
  std::vector<float> values(static_cast<size_t>(count));
  std::vector<float> again(values.size());
  traits(vector.format).decode(stored.data(), count, values.data());
  std::vector<std::byte> encoded(static_cast<size_t>(row_bytes(traits(format), count)));
  traits(format).encode(values.data(), count, nullptr, encoded.data());
  traits(format).decode(encoded.data(), count, again.data());
  return std::memcmp(values.data(), again.data(), values.size() * sizeof(float)) == 0;
}

// The plain format that most elements of the matrices have.
Format most_common(const std::vector<TensorPlan>& tensors) {
  std::map<Format, int64_t> elements;
  for (const TensorPlan& tensor : tensors) {
    if (is_hf_matrix(tensor) && traits(tensor.format).is_plain())
      elements[tensor.format] += tensor.elements();
  }
  if (elements.empty()) return Format::f32;
  return std::ranges::max_element(elements, {}, [](const auto& each) { return each.second; })
      ->first;
}

Result<void> check_plain(const std::vector<TensorPlan>& tensors) {
  const auto block = std::ranges::find_if(tensors, [](const TensorPlan& tensor) {
    return is_hf_matrix(tensor) && !tensor.weights_in_byte && !traits(tensor.format).is_plain();
  });
  if (block == tensors.end()) return {};
  return usage_error(
      fmt::format("{}: the tensor {} is in {}, which safetensors cannot hold; --outtype says what "
                  "it becomes: f32 (exactly the same), bf16 or f16",
                  block->view.source->name(), block->view.name, traits(block->format).name));
}

}  // namespace

Result<HfTensors> hf_tensors_with(const Checkpoint& checkpoint, const MatrixFormat& format_of) {
  DUNLIN_RETURN_IF_ERROR(check_complete(checkpoint));
  DUNLIN_RETURN_IF_ERROR(check_no_mesh(checkpoint));
  DUNLIN_ASSIGN_OR_RETURN(const StoredFamily* const family, stored_family(checkpoint.config()));
  HfTensors result = {};
  for (const WeightInfo& weight : checkpoint.weights()) {
    TensorPlan plan{
        .name = weight.name, .shape = weight.shape, .view = {}, .format = weight.format};
    DUNLIN_ASSIGN_OR_RETURN(plan.view, checkpoint.weight(weight.name));
    plan.format = is_hf_matrix(plan) ? format_of(weight.name, plan.view) : plan.view.format;
    result.tensors.push_back(std::move(plan));
  }
  if (family->mixture) {
    DUNLIN_RETURN_IF_ERROR(store_experts(result.tensors));
    result.quantization = mxfp4_quantization(result.tensors);
  }
  std::ranges::sort(result.tensors, {}, hf_place_of);
  result.dtype = most_common(result.tensors);
  for (TensorPlan& tensor : result.tensors) {
    if (is_hf_matrix(tensor)) continue;
    DUNLIN_ASSIGN_OR_RETURN(const bool exact, holds_exactly(tensor.view, result.dtype));
    tensor.format = exact ? result.dtype : Format::f32;
  }
  return result;
}

Result<HfTensors> hf_tensors(const Checkpoint& checkpoint, std::optional<Format> type) {
  DUNLIN_ASSIGN_OR_RETURN(
      HfTensors result,
      hf_tensors_with(checkpoint, [type](const std::string&, const WeightView& view) {
        return type.value_or(view.format);
      }));
  DUNLIN_RETURN_IF_ERROR(check_plain(result.tensors));
  return result;
}

}  // namespace dunlin
