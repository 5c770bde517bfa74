#include "convert/gguf_tensors.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstdlib>
#include <optional>
#include <string_view>
#include <utility>

#include "base/check.h"
#include "checkpoint/families.h"
#include "checkpoint/gguf_names.h"
#include "checkpoint/prepared_files.h"
#include "convert/llama3_scaling.h"

namespace dunlin {
namespace {

TensorPlan stored_tensor(const Checkpoint& checkpoint, size_t index) {
  const TensorInfo& tensor = checkpoint.tensors()[index];
  WeightView view;
  view.name = tensor.name;
  view.format = tensor.format;
  view.columns = tensor.shape.back();
  view.rows = 1;
  for (size_t i = 0; i + 1 < tensor.shape.size(); ++i) view.rows *= tensor.shape[i];
  view.source = checkpoint.source(index);
  view.offset = tensor.offset;
  return {.name = tensor.name, .shape = tensor.shape, .view = view, .format = tensor.format};
}

// As it is stored where GGUF has that, else rounded to BF16.
Format gguf_format(Format stored) {
  return traits(stored).ggml_type ? stored : Format::bf16;
}

// Vectors, and the biases of a stack of experts, are F32 in GGUF files.
bool is_kept_whole(const WeightInfo& weight) {
  return weight.shape.size() == 1 || weight.name.ends_with(".bias");
}

// `head_dim` is that of a model whose query and key rows are interleaved in GGUF files, else 0.
Result<TensorPlan> canonical_tensor(const Checkpoint& checkpoint, const StoredFamily& family,
                                    const WeightInfo& weight, int64_t head_dim) {
  DUNLIN_ASSIGN_OR_RETURN(WeightView view, checkpoint.weight(weight.name));
  const auto name = gguf_tensor_name(family, weight.name);
  DUNLIN_CHECK(name.has_value(), "a canonical name without a GGUF name");
  TensorPlan plan{.name = *name,
                  .shape = weight.shape,
                  .view = std::move(view),
                  .format = is_kept_whole(weight) ? Format::f32 : gguf_format(weight.format)};
  if (is_query_or_key(weight.name)) plan.interleaved_head_dim = head_dim;
  return plan;
}

// Its place among the tensors: embedding, layers by their number, output; then by name.
std::pair<int64_t, std::string_view> gguf_place_of(const TensorPlan& tensor) {
  constexpr std::string_view kLayer = "blk.";
  int64_t place = tensor.name.starts_with("token_embd.") ? -1 : INT64_MAX;
  if (tensor.name.starts_with(kLayer)) place = std::atoll(tensor.name.c_str() + kLayer.size());
  return {place, tensor.name};
}

// Gate and up of one tensor are neighbours, which are written from one reading of it.
std::vector<TensorPlan> with_pairs_together(std::vector<TensorPlan> tensors) {
  std::vector<WeightView> views;
  for (const TensorPlan& tensor : tensors) views.push_back(tensor.view);
  const std::vector<std::optional<RowPair>> pairs = row_pairs(views);
  std::vector<TensorPlan> ordered;
  for (size_t i = 0; i < tensors.size(); ++i) {
    if (pairs[i] && pairs[i]->odd == i) continue;
    ordered.push_back(std::move(tensors[i]));
    if (pairs[i]) ordered.push_back(std::move(tensors[pairs[i]->odd]));
  }
  return ordered;
}

Result<std::vector<float>> divisors_of(const Metadata& config, int64_t head_dim) {
  Llama3Scaling scaling = {};
  DUNLIN_ASSIGN_OR_RETURN(const double theta, config.number("rope_theta", 1, 1e12));
  DUNLIN_ASSIGN_OR_RETURN(scaling.factor, config.number("rope_scaling.factor", 1, 1e6));
  DUNLIN_ASSIGN_OR_RETURN(scaling.low_freq_factor,
                          config.number("rope_scaling.low_freq_factor", 1e-6, 1e6));
  DUNLIN_ASSIGN_OR_RETURN(scaling.high_freq_factor,
                          config.number("rope_scaling.high_freq_factor", 1e-6, 1e6));
  DUNLIN_ASSIGN_OR_RETURN(
      scaling.original_max_position_embeddings,
      config.integer("rope_scaling.original_max_position_embeddings", 1, 1 << 30));
  return llama3_divisors(theta, head_dim, scaling);
}

Result<void> add_rope_divisors(const Metadata& config, int64_t head_dim,
                               std::vector<TensorPlan>& tensors) {
  DUNLIN_ASSIGN_OR_RETURN(const std::string scaling, config.text("rope_scaling.rope_type"));
  if (scaling != "llama3") return {};
  DUNLIN_ASSIGN_OR_RETURN(const StoredFamily* const family, stored_family(config));
  if (!family->permuted_rope) {
    return model_error(fmt::format(
        "{}: rope scaling llama3 of a {} model has no form in GGUF files that llama.cpp reads",
        config.origin(), family->model_type));
  }
  DUNLIN_ASSIGN_OR_RETURN(const auto divisors, divisors_of(config, head_dim));
  const auto bytes = std::as_bytes(std::span(divisors));
  WeightView view;
  view.name = "rope_freqs.weight";
  view.rows = 1;
  view.columns = head_dim / 2;
  view.source = memory_source({bytes.begin(), bytes.end()}, config.origin());
  tensors.push_back(
      {.name = view.name, .shape = {head_dim / 2}, .view = view, .format = Format::f32});
  return {};
}

Result<std::vector<TensorPlan>> tensors_of_directory(const Checkpoint& checkpoint) {
  const Metadata& config = checkpoint.config();
  DUNLIN_ASSIGN_OR_RETURN(const int64_t head_dim, config.integer("head_dim", 2, 4096));
  DUNLIN_ASSIGN_OR_RETURN(const StoredFamily* const family, stored_family(config));
  std::vector<TensorPlan> tensors;
  for (const WeightInfo& weight : checkpoint.weights()) {
    DUNLIN_ASSIGN_OR_RETURN(
        TensorPlan plan,
        canonical_tensor(checkpoint, *family, weight, family->permuted_rope ? head_dim : 0));
    tensors.push_back(std::move(plan));
  }
  std::ranges::sort(tensors, {}, gguf_place_of);
  tensors = with_pairs_together(std::move(tensors));
  DUNLIN_RETURN_IF_ERROR(add_rope_divisors(config, head_dim, tensors));
  return tensors;
}

}  // namespace

Result<void> check_complete(const Checkpoint& checkpoint) {
  if (const auto prepared = checkpoint.prepared()) {
    return usage_error(
        fmt::format("{} is a prepared directory, whose weights cannot be read back; take the model "
                    "it was made from, {}",
                    checkpoint.path(), prepared->source()));
  }
  const Metadata& config = checkpoint.config();
  DUNLIN_ASSIGN_OR_RETURN(const int64_t layers, config.integer("num_hidden_layers", 1, 4096));
  DUNLIN_ASSIGN_OR_RETURN(const bool tied, config.boolean("tie_word_embeddings"));
  DUNLIN_ASSIGN_OR_RETURN(const StoredFamily* const family, stored_family(config));
  for (const std::string& name : weight_names(*family, layers, tied)) {
    if (!checkpoint.has_weight(name)) return checkpoint.weight(name).error();
  }
  return {};
}

Result<void> check_no_mesh(const Checkpoint& checkpoint) {
  const auto prepared = checkpoint.prepared_files();
  if (prepared == nullptr || !prepared->is_for_mesh()) return {};
  return usage_error(fmt::format(
      "{} is a prepared directory for a mesh, of which --to prepared makes others; for another "
      "container take the model it was made from, {}",
      checkpoint.path(), prepared->source()));
}

Result<std::vector<TensorPlan>> gguf_tensors(const Checkpoint& checkpoint) {
  DUNLIN_RETURN_IF_ERROR(check_complete(checkpoint));
  DUNLIN_RETURN_IF_ERROR(check_no_mesh(checkpoint));
  if (std::string_view(checkpoint.container()) != "gguf") return tensors_of_directory(checkpoint);
  std::vector<TensorPlan> tensors;
  for (size_t i = 0; i < checkpoint.tensors().size(); ++i)
    tensors.push_back(stored_tensor(checkpoint, i));
  return tensors;
}

}  // namespace dunlin
