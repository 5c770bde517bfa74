#include "convert/hf_experts.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstdint>
#include <map>
#include <memory>
#include <nlohmann/json.hpp>
#include <string_view>
#include <utility>

#include "base/check.h"
#include "convert/encoded_rows.h"
#include "convert/expert_sources.h"

namespace dunlin {
namespace {

using Json = nlohmann::ordered_json;

constexpr std::string_view kExperts = ".mlp.experts.";
// A byte as it is.
constexpr Format kByte = Format::f8_e4m3;

// Weights that are stored in one tensor: gate and up, or down.
using Parts = std::vector<const TensorPlan*>;

Result<void> check_formats(const Parts& parts) {
  const TensorPlan& first = *parts.front();
  const TensorPlan& last = *parts.back();
  if (first.format == last.format) return {};
  return usage_error(fmt::format(
      "{}: {} is in {} and {} in {}, and a Hugging Face directory has both in one tensor; "
      "--outtype says what they become: f32, bf16 or f16",
      first.view.source->name(), first.name, traits(first.format).name, last.name,
      traits(last.format).name));
}

TensorPlan plan_of(const std::string& name, std::vector<int64_t> shape, Format format, int64_t rows,
                   std::shared_ptr<const ByteSource> source) {
  int64_t elements = 1;
  for (const int64_t extent : shape) elements *= extent;
  TensorPlan plan{.name = name, .shape = std::move(shape), .view = {}, .format = format};
  plan.view.name = name;
  plan.view.format = format;
  plan.view.rows = rows;
  plan.view.columns = elements / rows;
  plan.view.source = std::move(source);
  return plan;
}

std::vector<WeightView> views_of(const Parts& parts) {
  std::vector<WeightView> views;
  for (const TensorPlan* part : parts) views.push_back(part->view);
  return views;
}

// [experts, rows of all parts], in turn.
TensorPlan bias(const Parts& parts, const std::string& name) {
  const std::vector<int64_t>& shape = parts.front()->shape;
  const Format format = parts.front()->format;
  return plan_of(name + "_bias", {shape[0], shape[1] * std::ssize(parts)}, format, shape[0],
                 interleaved_source(views_of(parts), traits(format).block_bytes));
}

// [experts, columns, rows of all parts].
TensorPlan plain(const Parts& parts, const std::string& name) {
  const std::vector<int64_t>& shape = parts.front()->shape;
  const Format format = parts.front()->format;
  std::vector<WeightView> views;
  for (const TensorPlan* part : parts) {
    const RowTarget target{.form = {&traits(format), part->view.columns}};
    views.push_back(part->view.format == format ? part->view : encoded_rows(part->view, target));
  }
  return plan_of(name, {shape[0], shape[2], shape[1] * std::ssize(parts)}, format,
                 shape[0] * shape[2], transposed_source(std::move(views), shape[0]));
}

// Codes [experts, rows of all parts, blocks, 16] and exponents [experts, rows, blocks].
void add_mxfp4(const Parts& parts, const std::string& name, std::vector<TensorPlan>& stored) {
  const std::vector<int64_t>& shape = parts.front()->shape;
  const int64_t rows = shape[1] * std::ssize(parts);
  const int64_t blocks = shape[2] / traits(Format::mxfp4).block_elements;
  const auto source = interleaved_source(views_of(parts), parts.front()->view.bytes_per_row());
  stored.push_back(plan_of(name + "_blocks", {shape[0], rows, blocks, 16}, kByte, shape[0] * rows,
                           mxfp4_codes(source)));
  stored.back().weights_in_byte = 2;
  stored.push_back(plan_of(name + "_scales", {shape[0], rows, blocks}, kByte, shape[0] * rows,
                           mxfp4_scales(source)));
  stored.back().weights_in_byte = 0;
}

Result<void> add(const Parts& parts, const std::string& name, std::vector<TensorPlan>& stored) {
  DUNLIN_RETURN_IF_ERROR(check_formats(parts));
  const TensorPlan& first = *parts.front();
  if (first.shape.size() == 2) {
    stored.push_back(bias(parts, name));
  } else if (traits(first.format).is_plain()) {
    stored.push_back(plain(parts, name));
  } else if (first.format == Format::mxfp4) {
    add_mxfp4(parts, name, stored);
  } else {
    for (const TensorPlan* part : parts) stored.push_back(*part);
  }
  return {};
}

}  // namespace

Result<void> store_experts(std::vector<TensorPlan>& tensors) {
  std::vector<TensorPlan> stored;
  std::map<std::string, TensorPlan> experts;
  for (TensorPlan& tensor : tensors) {
    const std::string name = tensor.name;
    if (name.find(kExperts) == std::string::npos) {
      stored.push_back(std::move(tensor));
    } else {
      experts.emplace(name, std::move(tensor));
    }
  }
  constexpr std::string_view kGate = "gate_proj";
  for (const auto& [name, plan] : experts) {
    const size_t end = name.find(kExperts) + kExperts.size();
    const std::string layer = name.substr(0, end);
    const std::string rest = name.substr(end);
    if (rest.starts_with("down_proj"))
      DUNLIN_RETURN_IF_ERROR(add({&plan}, layer + "down_proj", stored));
    if (!rest.starts_with(kGate)) continue;
    const auto up = experts.find(layer + "up_proj" + rest.substr(kGate.size()));
    DUNLIN_CHECK(up != experts.end(), "a gate without what it gates");
    DUNLIN_RETURN_IF_ERROR(add({&plan, &up->second}, layer + "gate_up_proj", stored));
  }
  tensors = std::move(stored);
  return {};
}

std::string mxfp4_quantization(const std::vector<TensorPlan>& tensors) {
  std::vector<std::string> plain_modules = {"model.layers.*.self_attn", "model.layers.*.mlp.router",
                                            "model.embed_tokens", "lm_head"};
  bool any = false;
  for (const TensorPlan& tensor : tensors) {
    any = any || tensor.weights_in_byte.has_value();
    // Experts that are plain, in a model where others are not.
    if (tensor.shape.size() != 3 || tensor.weights_in_byte) continue;
    const std::string module =
        tensor.name.substr(0, tensor.name.find(kExperts) + kExperts.size() - 1);
    if (std::ranges::find(plain_modules, module) == plain_modules.end())
      plain_modules.push_back(module);
  }
  if (!any) return {};
  return Json({{"quant_method", "mxfp4"}, {"modules_to_not_convert", plain_modules}}).dump();
}

}  // namespace dunlin
