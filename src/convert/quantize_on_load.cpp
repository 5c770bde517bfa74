#include "convert/quantize_on_load.h"

#include <fmt/format.h>

#include <algorithm>
#include <unordered_map>
#include <utility>
#include <vector>

#include "base/log.h"
#include "checkpoint/families.h"
#include "checkpoint/gguf_names.h"
#include "convert/choose_formats.h"
#include "convert/encoded_rows.h"
#include "convert/gguf_tensors.h"
#include "convert/hf_quantization.h"
#include "convert/tensor_stream.h"

namespace dunlin {
namespace {

class QuantizedCheckpoint final : public Checkpoint {
 public:
  explicit QuantizedCheckpoint(std::unique_ptr<Checkpoint> checkpoint)
      : checkpoint_(std::move(checkpoint)),
        tensors_(checkpoint_->tensors()),
        weights_(checkpoint_->weights()) {
    for (size_t i = 0; i < weights_.size(); ++i) number_of_.emplace(weights_[i].name, i);
  }

  // A matrix under its canonical name.
  Result<void> encode(const std::string& name, const RowTarget& target) {
    DUNLIN_ASSIGN_OR_RETURN(const WeightView from, checkpoint_->weight(name));
    views_.insert_or_assign(name, encoded_rows(from, target));
    WeightInfo& weight = weights_[number_of_.at(name)];
    weight.format = target.form.format->format;
    TensorInfo& tensor = tensors_[weight.tensor];
    if (tensor.canonical_name != name) return {};  // one of several weights in a tensor
    tensor.format = weight.format;
    tensor.scale_columns = target.form.scale_columns;
    tensor.bytes = static_cast<uint64_t>(from.rows * target.form.bytes());
    tensor.offset = 0;
    return {};
  }

  const std::string& path() const override { return checkpoint_->path(); }
  const char* container() const override { return checkpoint_->container(); }
  const Metadata& config() const override { return checkpoint_->config(); }
  const Metadata& header() const override { return checkpoint_->header(); }
  const std::vector<TensorInfo>& tensors() const override { return tensors_; }
  std::shared_ptr<const ByteSource> source(size_t tensor) const override {
    const auto it = views_.find(tensors_[tensor].canonical_name);
    return it == views_.end() ? checkpoint_->source(tensor) : it->second.source;
  }
  const std::vector<WeightInfo>& weights() const override { return weights_; }
  bool has_weight(const std::string& canonical_name) const override {
    return checkpoint_->has_weight(canonical_name);
  }
  Result<WeightView> weight(const std::string& canonical_name) const override {
    const auto it = views_.find(canonical_name);
    if (it == views_.end()) return checkpoint_->weight(canonical_name);
    return it->second;
  }

 private:
  std::unique_ptr<Checkpoint> checkpoint_;
  std::vector<TensorInfo> tensors_;
  std::vector<WeightInfo> weights_;
  std::unordered_map<std::string, size_t> number_of_ = {};  // of weights_, by name
  std::unordered_map<std::string, WeightView> views_ = {};
};

// What `dunlin quantize` would write.
Result<std::vector<TensorPlan>> plans_of(const Checkpoint& checkpoint, const QuantizeType& type) {
  const FormatOptions options{.type = &type};
  std::vector<Fallback> fallbacks;
  std::vector<TensorPlan> plans;
  if (type.is_scaled()) {
    DUNLIN_ASSIGN_OR_RETURN(HfTensors tensors, scaled_hf_tensors(checkpoint, options, fallbacks));
    plans = std::move(tensors.tensors);
  } else {
    DUNLIN_ASSIGN_OR_RETURN(plans, gguf_tensors(checkpoint));
    DUNLIN_ASSIGN_OR_RETURN(fallbacks, choose_formats(checkpoint.config(), options, plans));
  }
  if (!fallbacks.empty()) {
    log_warning(fmt::format(
        "--quantize {}: rows of {} matrices are not whole blocks; {} becomes {}", type.name,
        fallbacks.size(), fallbacks.front().tensor, traits(fallbacks.front().used).name));
  }
  return plans;
}

// The weights in a planned tensor. Plans of a directory have canonical names, those of a GGUF file its
// own; one of its tensors may hold several weights, as gate and up of a mixture.
std::vector<std::string> weights_in(const Checkpoint& checkpoint, const StoredFamily& family,
                                    const std::string& tensor) {
  const std::string name = canonical_tensor_name(family, tensor).value_or(tensor);
  if (checkpoint.has_weight(name)) return {name};
  std::vector<std::string> names;
  for (const WeightInfo& weight : checkpoint.weights()) {
    if (checkpoint.tensors()[weight.tensor].name == tensor) names.push_back(weight.name);
  }
  return names;
}

// Types with scales beside the elements are those of directories, which have no form for experts.
Result<void> refuse_mixture(const StoredFamily& family, const QuantizeType& type) {
  if (!family.mixture || !type.is_scaled()) return {};
  return usage_error(fmt::format(
      "--quantize {}: experts of a {} model cannot be in it; Q8_0 has about as many bits",
      type.name, family.model_type));
}

Result<void> refuse_quantised(const std::vector<TensorPlan>& plans, const QuantizeType& type) {
  const auto it = std::ranges::find_if(
      plans, [](const TensorPlan& plan) { return !traits(plan.view.format).is_plain(); });
  if (it == plans.end()) return {};
  return usage_error(
      fmt::format("--quantize {}: {} is quantised already (the tensor {} is in {}); it needs a "
                  "model in F32, F16 or BF16",
                  type.name, it->view.source->name(), it->view.name, traits(it->view.format).name));
}

}  // namespace

Result<std::unique_ptr<Checkpoint>> quantize_on_load(std::unique_ptr<Checkpoint> checkpoint,
                                                     const std::string& type_name) {
  const QuantizeType* const type = find_quantize_type(type_name);
  if (type == nullptr) {
    std::vector<std::string> names;
    for (const QuantizeType& each : quantize_types()) names.emplace_back(each.name);
    return usage_error(
        fmt::format("--quantize {}: the types are {}", type_name, fmt::join(names, ", ")));
  }
  DUNLIN_ASSIGN_OR_RETURN(const StoredFamily* const family, stored_family(checkpoint->config()));
  DUNLIN_RETURN_IF_ERROR(refuse_mixture(*family, *type));
  DUNLIN_ASSIGN_OR_RETURN(const std::vector<TensorPlan> plans, plans_of(*checkpoint, *type));
  DUNLIN_RETURN_IF_ERROR(refuse_quantised(plans, *type));
  auto quantized = std::make_unique<QuantizedCheckpoint>(std::move(checkpoint));
  for (const TensorPlan& plan : plans) {
    const bool matrix = plan.shape.size() > 1 && !plan.scales;
    if (!matrix || plan.format == plan.view.format) continue;
    RowTarget target = target_of(plan);
    target.interleaved_head_dim = 0;  // weights are read in canonical order
    for (const std::string& name : weights_in(*quantized, *family, plan.view.name))
      DUNLIN_RETURN_IF_ERROR(quantized->encode(name, target));
  }
  return std::unique_ptr<Checkpoint>(std::move(quantized));
}

}  // namespace dunlin
