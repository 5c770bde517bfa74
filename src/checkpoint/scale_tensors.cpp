#include "checkpoint/scale_tensors.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <string_view>
#include <utility>

#include "base/log.h"
#include "checkpoint/tensor_checks.h"

namespace dunlin {
namespace {

constexpr std::string_view kWeight = ".weight";

// Of activations and of the KV cache.
constexpr std::string_view kUnused[] = {".input_scale", ".output_scale", ".q_scale", ".k_scale",
                                        ".v_scale"};

// Of a tensor without elements an extent may be the largest number there is.
int64_t blocks_of(int64_t extent, int64_t block) {
  return extent / block + (extent % block == 0 ? 0 : 1);
}

class Finder {
 public:
  Finder(const std::optional<QuantizationConfig>& config, const std::vector<TensorInfo>& tensors,
         const std::vector<std::shared_ptr<const ByteSource>>& sources)
      : config_(config), tensors_(tensors), sources_(sources) {
    if (!config) return;
    for (size_t i = 0; i < tensors.size(); ++i) number_of_.emplace(tensors[i].name, i);
    plain_.insert(config->plain_modules.begin(), config->plain_modules.end());
  }

  Result<ScaleTensors> find() {
    for (size_t i = 0; i < tensors_.size(); ++i) {
      if (traits(tensors_[i].format).largest > 0.0f) DUNLIN_RETURN_IF_ERROR(add(i));
    }
    if (config_) leave_unused();
    return std::move(found_);
  }

 private:
  Result<void> add(size_t number) {
    const TensorInfo& tensor = tensors_[number];
    const FormatTraits& format = traits(tensor.format);
    if (!config_) {
      return tensor_error(tensor,
                          fmt::format("is in {}, and config.json has no quantization_config "
                                      "to say where its scales are",
                                      format.name));
    }
    if (!tensor.name.ends_with(kWeight) || tensor.shape.size() != 2)
      return tensor_error(tensor, fmt::format("is in {} and is no matrix", format.name));
    if ((format.group > 0) != config_->integer) {
      return tensor_error(tensor, fmt::format("is in {}, but quantization_config says {}",
                                              format.name, config_->integer ? "int" : "float"));
    }
    if (tensor.shape[1] % format.block_elements != 0) {
      return tensor_error(tensor, fmt::format("has rows of {}, which are not whole groups of {}",
                                              tensor.shape[1], format.block_elements));
    }
    const std::string module = tensor.name.substr(0, tensor.name.size() - kWeight.size());
    if (plain_.contains(module)) {
      return tensor_error(tensor, fmt::format("is in {}, but quantization_config calls {} plain",
                                              format.name, module));
    }
    return add_scales(number, module + "." + config_->scale_name);
  }

  Result<void> add_scales(size_t number, const std::string& name) {
    const TensorInfo& tensor = tensors_[number];
    const auto it = number_of_.find(name);
    if (it == number_of_.end()) {
      return tensor_error(tensor, fmt::format("is in {}, but {} with its scales is missing",
                                              traits(tensor.format).name, name));
    }
    const TensorInfo& stored = tensors_[it->second];
    if (stored.raw || !traits(stored.format).is_plain()) {
      return tensor_error(stored, fmt::format("holds scales in {}, not in F32, F16 or BF16",
                                              stored.raw ? "U8" : traits(stored.format).name));
    }
    DUNLIN_ASSIGN_OR_RETURN(ScaleTensor scales, layout_of(tensor, stored));
    scales.name = name;
    scales.view.name = name;
    scales.view.format = stored.format;
    scales.view.rows = 1;
    scales.view.columns = 1;
    for (const int64_t extent : stored.shape) scales.view.columns *= extent;
    scales.view.source = sources_[it->second];
    scales.view.offset = stored.offset;
    found_.of.emplace(number, std::move(scales));
    found_.names.insert(name);
    return {};
  }

  // From the shapes of both.
  Result<ScaleTensor> layout_of(const TensorInfo& tensor, const TensorInfo& stored) const {
    const int64_t rows = tensor.shape[0];
    const int64_t columns = tensor.shape[1];
    using Shape = std::vector<int64_t>;
    if (config_->block_rows > 0) {
      const int64_t per_row = blocks_of(columns, config_->block_columns);
      const Shape expected = {blocks_of(rows, config_->block_rows), per_row};
      if (stored.shape != expected)
        return wrong_shape(tensor, stored, fmt::format("[{}]", fmt::join(expected, ", ")));
      return ScaleTensor{
          .rows = config_->block_rows, .columns = config_->block_columns, .per_row = per_row};
    }
    if (stored.shape == Shape{rows, 1} || (stored.shape == Shape{rows} && rows > 1))
      return ScaleTensor{.rows = 1, .columns = columns};
    if (stored.shape.empty() || stored.shape == Shape{1} || stored.shape == Shape{1, 1})
      return ScaleTensor{.rows = rows, .columns = columns};
    return wrong_shape(tensor, stored, fmt::format("[{}, 1] or [1]", rows));
  }

  static Error wrong_shape(const TensorInfo& tensor, const TensorInfo& stored,
                           std::string_view expected) {
    return tensor_error(stored, fmt::format("has the shape [{}]; scales of {} have {}",
                                            fmt::join(stored.shape, ", "), tensor.name, expected));
  }

  void leave_unused() {
    for (const TensorInfo& tensor : tensors_) {
      const bool unused = std::ranges::any_of(
          kUnused, [&](std::string_view suffix) { return tensor.name.ends_with(suffix); });
      if (unused) found_.names.insert(tensor.name);
    }
    if (found_.names.size() > found_.of.size()) {
      log_warning(fmt::format(
          "{}: scales of activations and of the KV cache are not used; --precision says "
          "how they are computed",
          tensors_.front().file));
    }
  }

  const std::optional<QuantizationConfig>& config_;
  const std::vector<TensorInfo>& tensors_;
  const std::vector<std::shared_ptr<const ByteSource>>& sources_;
  std::unordered_map<std::string_view, size_t> number_of_ = {};
  std::unordered_set<std::string_view> plain_ = {};
  ScaleTensors found_ = {};
};

}  // namespace

Result<ScaleTensors> find_scale_tensors(
    const std::optional<QuantizationConfig>& config, const std::vector<TensorInfo>& tensors,
    const std::vector<std::shared_ptr<const ByteSource>>& sources) {
  return Finder(config, tensors, sources).find();
}

Result<std::shared_ptr<const WeightScales>> read_scales(const ScaleTensor& tensor) {
  const WeightView& view = tensor.view;
  std::vector<std::byte> stored(static_cast<size_t>(view.bytes_per_row()));
  DUNLIN_RETURN_IF_ERROR(view.read_rows(0, 1, stored));
  auto scales = std::make_shared<WeightScales>();
  scales->rows = tensor.rows;
  scales->per_row = tensor.per_row;
  scales->values.resize(static_cast<size_t>(view.columns));
  view.row_form().decode(stored.data(), 1, scales->values.data());
  const auto wrong = std::ranges::find_if(
      scales->values, [](float scale) { return !(scale > 0.0f && std::isnormal(scale)); });
  if (wrong != scales->values.end()) {
    return tensor_error(view.source->name(), tensor.name,
                        fmt::format("holds {} at {}; a scale is a positive number", *wrong,
                                    wrong - scales->values.begin()));
  }
  return std::shared_ptr<const WeightScales>(std::move(scales));
}

}  // namespace dunlin
