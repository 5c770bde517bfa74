// The Checkpoint that both containers build.
#include "checkpoint/stored_checkpoint.h"

#include <fmt/format.h>

#include <string_view>
#include <unordered_map>

#include "checkpoint/families.h"
#include "checkpoint/gguf_names.h"

namespace dunlin {
namespace {

struct Layout {
  bool gguf_names = false;
  bool tied = false;
  int64_t rope_head_dim = 0;  // of permuted query and key rows; 0 where rows are in canonical order
};

Result<Layout> layout_of(const CheckpointParts& parts) {
  Layout layout;
  layout.gguf_names = std::string_view(parts.container) == "gguf";
  DUNLIN_ASSIGN_OR_RETURN(layout.tied, parts.config.boolean("tie_word_embeddings"));
  DUNLIN_ASSIGN_OR_RETURN(const std::string model_type, parts.config.text("model_type"));
  DUNLIN_ASSIGN_OR_RETURN(const StoredFamily* const family,
                          stored_family(parts.config.origin(), model_type));
  if (layout.gguf_names && family->permuted_rope) {
    DUNLIN_ASSIGN_OR_RETURN(layout.rope_head_dim, parts.config.integer("head_dim", 2, 4096));
  }
  return layout;
}

Error tensor_error(const TensorInfo& tensor, std::string_view problem) {
  return model_error(fmt::format("{}: the tensor {} {}", tensor.file, tensor.name, problem));
}

// The canonical name, empty for a tensor that is not read.
Result<std::string> name_of(const TensorInfo& tensor, const Layout& layout) {
  if (is_ignored_tensor(tensor.name)) return std::string();
  std::optional<std::string> name;
  if (layout.gguf_names) {
    name = canonical_tensor_name(tensor.name);
  } else if (is_canonical_tensor_name(tensor.name)) {
    name = tensor.name;
  }
  if (!name) return tensor_error(tensor, "is not part of any model that is read here");
  if (layout.tied && *name == "lm_head.weight") return std::string();
  return *name;
}

Result<void> check_tensor(const TensorInfo& tensor, const Metadata& config, int64_t rope_head_dim) {
  DUNLIN_ASSIGN_OR_RETURN(const auto expected, canonical_shape(tensor.canonical_name, config));
  if (tensor.shape != expected) {
    return tensor_error(tensor,
                        fmt::format("has the shape [{}]; the configuration gives [{}]",
                                    fmt::join(tensor.shape, ", "), fmt::join(expected, ", ")));
  }
  const bool mapped_vector = rope_head_dim > 0 && tensor.shape.size() == 1;
  if (mapped_vector && traits(tensor.format).block_elements != 1) {
    return tensor_error(
        tensor, fmt::format("is a bias of the query or key in {}, which cannot be put in order",
                            traits(tensor.format).name));
  }
  return {};
}

class StoredCheckpoint final : public Checkpoint {
 public:
  explicit StoredCheckpoint(CheckpointParts parts, Layout layout)
      : parts_(std::move(parts)), layout_(layout) {}

  Result<void> index_tensors() {
    for (size_t i = 0; i < parts_.tensors.size(); ++i) {
      TensorInfo& tensor = parts_.tensors[i];
      if (parts_.scales.names.contains(tensor.name)) continue;
      DUNLIN_ASSIGN_OR_RETURN(tensor.canonical_name, name_of(tensor, layout_));
      if (tensor.canonical_name.empty()) continue;
      DUNLIN_RETURN_IF_ERROR(
          check_tensor(tensor, parts_.config, rope_head_dim(tensor.canonical_name)));
      index_.emplace(tensor.canonical_name, i);
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
  bool has_weight(const std::string& canonical_name) const override {
    return index_.contains(canonical_name);
  }

  Result<WeightView> weight(const std::string& canonical_name) const override {
    const auto it = index_.find(canonical_name);
    if (it == index_.end()) {
      return model_error(
          fmt::format("{}: the tensor {} is missing", parts_.path, stored_name(canonical_name)));
    }
    const TensorInfo& tensor = parts_.tensors[it->second];
    WeightView view;
    view.name = canonical_name;
    view.format = tensor.format;
    view.rows = tensor.shape.size() == 2 ? tensor.shape[0] : 1;
    view.columns = tensor.shape.back();
    view.source = parts_.sources[it->second];
    view.offset = tensor.offset;
    view.row_map.rope_head_dim = rope_head_dim(canonical_name);
    if (const auto scales = parts_.scales.of.find(it->second); scales != parts_.scales.of.end()) {
      view.scale_columns = scales->second.columns;
      DUNLIN_ASSIGN_OR_RETURN(view.scales, read_scales(scales->second));
    }
    return view;
  }

 private:
  int64_t rope_head_dim(const std::string& canonical_name) const {
    return is_query_or_key(canonical_name) ? layout_.rope_head_dim : 0;
  }

  // As the user finds it in the file.
  std::string stored_name(const std::string& canonical_name) const {
    if (!layout_.gguf_names) return canonical_name;
    const auto name = gguf_tensor_name(canonical_name);
    return name ? fmt::format("{} ({})", *name, canonical_name) : canonical_name;
  }

  CheckpointParts parts_;
  Layout layout_;
  std::unordered_map<std::string, size_t> index_;
};

}  // namespace

Result<std::unique_ptr<Checkpoint>> make_checkpoint(CheckpointParts parts) {
  DUNLIN_ASSIGN_OR_RETURN(const Layout layout, layout_of(parts));
  auto checkpoint = std::make_unique<StoredCheckpoint>(std::move(parts), layout);
  DUNLIN_RETURN_IF_ERROR(checkpoint->index_tensors());
  return std::unique_ptr<Checkpoint>(std::move(checkpoint));
}

}  // namespace dunlin
