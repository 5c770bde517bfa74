// The Checkpoint that all containers build.
#include "checkpoint/stored_checkpoint.h"

#include <fmt/format.h>

#include <optional>
#include <string_view>
#include <unordered_map>
#include <utility>

#include "checkpoint/families.h"
#include "checkpoint/gguf_names.h"
#include "checkpoint/mxfp4_pairs.h"
#include "checkpoint/tensor_checks.h"
#include "checkpoint/weight_parts.h"

namespace dunlin {
namespace {

struct Layout {
  const StoredFamily* family = nullptr;
  bool gguf_names = false;
  bool tied = false;
  int64_t rope_head_dim = 0;  // of permuted query and key rows; 0 where rows are in canonical order
};

Result<Layout> layout_of(const CheckpointParts& parts) {
  Layout layout;
  layout.gguf_names = std::string_view(parts.container) == "gguf";
  DUNLIN_ASSIGN_OR_RETURN(layout.tied, parts.config.boolean("tie_word_embeddings"));
  if (layout.gguf_names) {
    DUNLIN_ASSIGN_OR_RETURN(const std::string architecture,
                            parts.header.text("general.architecture"));
    DUNLIN_ASSIGN_OR_RETURN(layout.family, gguf_family(parts.header.origin(), architecture));
  } else {
    DUNLIN_ASSIGN_OR_RETURN(layout.family, stored_family(parts.config));
  }
  if (layout.gguf_names && layout.family->permuted_rope) {
    DUNLIN_ASSIGN_OR_RETURN(layout.rope_head_dim, parts.config.integer("head_dim", 2, 4096));
  }
  return layout;
}

// The canonical name, empty for a tensor that is not read.
Result<std::string> name_of(const TensorInfo& tensor, const Layout& layout) {
  if (is_ignored_tensor(tensor.name)) return std::string();
  std::optional<std::string> name;
  if (layout.gguf_names) {
    name = canonical_tensor_name(*layout.family, tensor.name);
  } else if (is_canonical_tensor_name(*layout.family, tensor.name)) {
    name = tensor.name;
  }
  if (!name) {
    return tensor_error(tensor,
                        fmt::format("is not part of a {} model", layout.family->model_type));
  }
  if (layout.tied && *name == "lm_head.weight") return std::string();
  return *name;
}

Result<void> check_tensor(const TensorInfo& tensor, const std::vector<int64_t>& expected,
                          int64_t rope_head_dim) {
  DUNLIN_RETURN_IF_ERROR(check_tensor_shape(tensor, expected));
  const bool mapped_vector = rope_head_dim > 0 && tensor.shape.size() == 1;
  if (mapped_vector && traits(tensor.format).block_elements != 1) {
    return tensor_error(
        tensor, fmt::format("is a bias of the query or key in {}, which cannot be put in order",
                            traits(tensor.format).name));
  }
  return {};
}

// Where a weight lies.
struct StoredPlace {
  std::shared_ptr<const ByteSource> source;
  std::optional<StridedLayout> layout;
  RowMap row_map;
};

class StoredCheckpoint final : public Checkpoint {
 public:
  explicit StoredCheckpoint(CheckpointParts parts, Layout layout)
      : parts_(std::move(parts)), layout_(layout) {}

  Result<void> index_tensors() {
    for (size_t i = 0; i < parts_.tensors.size(); ++i) {
      TensorInfo& tensor = parts_.tensors[i];
      if (parts_.scales.names.contains(tensor.name)) continue;
      if (tensor.raw) {
        return tensor_error(
            tensor,
            "is stored as U8; the types that are read are F32, F16, BF16 and MXFP4's pairs");
      }
      DUNLIN_ASSIGN_OR_RETURN(
          const std::vector<WeightPart> parts,
          weight_parts(*layout_.family, layout_.gguf_names, tensor, parts_.config));
      for (const WeightPart& part : parts) DUNLIN_RETURN_IF_ERROR(add(i, part));
      if (parts.size() == 1 && !parts.front().layout) tensor.canonical_name = parts.front().name;
      if (!parts.empty()) continue;
      DUNLIN_ASSIGN_OR_RETURN(tensor.canonical_name, name_of(tensor, layout_));
      if (tensor.canonical_name.empty()) continue;
      DUNLIN_ASSIGN_OR_RETURN(
          const auto expected,
          canonical_shape(*layout_.family, tensor.canonical_name, parts_.config));
      DUNLIN_RETURN_IF_ERROR(check_tensor(tensor, expected, rope_head_dim(tensor.canonical_name)));
      DUNLIN_RETURN_IF_ERROR(add(i, {.name = tensor.canonical_name, .shape = expected}));
    }
    return {};
  }

  const std::string& path() const override { return parts_.path; }
  const char* container() const override { return parts_.container; }
  const Metadata& config() const override { return parts_.config; }
  const Metadata& header() const override { return parts_.header; }
  const std::vector<TensorInfo>& tensors() const override { return parts_.tensors; }
  std::shared_ptr<const ByteSource> source(size_t tensor) const override {
    return parts_.sources[tensor];
  }
  std::shared_ptr<const PreparedWeights> prepared() const override { return parts_.prepared; }
  std::shared_ptr<const PreparedFiles> prepared_files() const override {
    return parts_.prepared_files;
  }
  const std::vector<WeightInfo>& weights() const override { return weights_; }
  bool has_weight(const std::string& canonical_name) const override {
    return index_.contains(canonical_name);
  }

  Result<WeightView> weight(const std::string& canonical_name) const override {
    const auto it = index_.find(canonical_name);
    if (it == index_.end()) {
      return model_error(
          fmt::format("{}: the tensor {} is missing", parts_.path, stored_name(canonical_name)));
    }
    const WeightInfo& weight = weights_[it->second];
    const StoredPlace& place = places_[it->second];
    WeightView view;
    view.name = canonical_name;
    view.format = weight.format;
    view.rows = 1;
    for (size_t i = 0; i + 1 < weight.shape.size(); ++i) view.rows *= weight.shape[i];
    view.columns = weight.shape.back();
    view.source = place.source;
    view.offset = place.layout ? 0 : parts_.tensors[weight.tensor].offset;
    view.row_map = place.row_map;
    view.row_map.rope_head_dim = rope_head_dim(canonical_name);
    view.scale_columns = parts_.tensors[weight.tensor].scale_columns;
    view.columns_apart = place.layout && place.layout->is_transposed();
    if (const auto scales = parts_.scales.of.find(weight.tensor);
        scales != parts_.scales.of.end()) {
      view.scale_columns = scales->second.columns;
      DUNLIN_ASSIGN_OR_RETURN(view.scales, read_scales(scales->second));
    }
    return view;
  }

 private:
  Result<void> add(size_t tensor, const WeightPart& part) {
    const TensorInfo& stored = parts_.tensors[tensor];
    const auto [it, added] = index_.emplace(part.name, weights_.size());
    if (!added) {
      const TensorInfo& other = parts_.tensors[weights_[it->second].tensor];
      return tensor_error(stored, fmt::format("holds {}, and so does {}", part.name, other.name));
    }
    places_.push_back({source_of(tensor, part), part.layout, part.row_map});
    weights_.push_back({part.name, part.shape, stored.format, tensor});
    return {};
  }

  // Parts with the same layout of a tensor have one source, by which it is seen that they lie together.
  std::shared_ptr<const ByteSource> source_of(size_t tensor, const WeightPart& part) const {
    if (!part.layout) return parts_.sources[tensor];
    const bool as_before = !weights_.empty() && weights_.back().tensor == tensor &&
                           places_.back().layout == part.layout;
    return as_before ? places_.back().source : strided_source(parts_.sources[tensor], *part.layout);
  }

  int64_t rope_head_dim(const std::string& canonical_name) const {
    return is_query_or_key(canonical_name) ? layout_.rope_head_dim : 0;
  }

  // As the user finds it in the file.
  std::string stored_name(const std::string& canonical_name) const {
    std::string name = name_in_files(*layout_.family, layout_.gguf_names, parts_.config,
                                     parts_.tensors, canonical_name);
    if (layout_.gguf_names && name != canonical_name) name += fmt::format(" ({})", canonical_name);
    return name;
  }

  CheckpointParts parts_;
  Layout layout_;
  std::vector<WeightInfo> weights_ = {};
  std::vector<StoredPlace> places_ = {};                // of each weight
  std::unordered_map<std::string, size_t> index_ = {};  // of weights_, by name
};

}  // namespace

Result<std::unique_ptr<Checkpoint>> make_checkpoint(CheckpointParts parts) {
  DUNLIN_ASSIGN_OR_RETURN(const Layout layout, layout_of(parts));
  // Scales are kept by the number of their tensor, which joining would change; with them, pairs are
  // an error of their own.
  if (layout.family->mixture && parts.scales.of.empty() &&
      std::string_view(parts.container) == "safetensors")
    DUNLIN_RETURN_IF_ERROR(join_mxfp4_pairs(parts.tensors, parts.sources));
  auto checkpoint = std::make_unique<StoredCheckpoint>(std::move(parts), layout);
  DUNLIN_RETURN_IF_ERROR(checkpoint->index_tensors());
  return std::unique_ptr<Checkpoint>(std::move(checkpoint));
}

}  // namespace dunlin
