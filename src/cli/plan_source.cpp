#include "cli/plan_source.h"

#include <fmt/format.h>

#include <algorithm>
#include <filesystem>
#include <map>
#include <utility>

#include "backend/weight_shape.h"
#include "convert/quantize_on_load.h"
#include "convert/quantize_type.h"
#include "engine/model.h"
#include "models/registry.h"

namespace dunlin {
namespace {

bool has_weights(const std::string& folder) {
  std::error_code ignored;
  const std::filesystem::path path(folder);
  return std::filesystem::exists(path / "model.safetensors", ignored) ||
         std::filesystem::exists(path / "model.safetensors.index.json", ignored);
}

// Whether the path names a configuration without weights beside it.
bool is_configuration(const std::string& path) {
  const std::filesystem::path file(path);
  std::error_code ignored;
  if (std::filesystem::is_directory(file, ignored)) {
    return std::filesystem::exists(file / "config.json", ignored) && !has_weights(path);
  }
  if (file.extension() != ".json" || file.filename() == "model.safetensors.index.json")
    return false;
  const std::string folder = file.parent_path().string();
  return file.filename() != "config.json" || !has_weights(folder.empty() ? "." : folder);
}

// Views of the declared shapes over a source that has no bytes. Of quantised models only mixtures are
// read, whose experts are in MXFP4.
WeightSource declared_weights(const Program& program, const Metadata& config,
                              const std::string& origin) {
  const bool mxfp4 = config.has("quantization_config.quant_method");
  std::map<std::string, WeightView> views;
  const auto source = memory_source({}, origin);
  for (const WeightDeclaration& weight : program.weights) {
    const MatrixShape shape = matrix_shape(weight);
    views[weight.name] =
        WeightView{.name = weight.name,
                   .format = mxfp4 && weight.dims.size() == 3 ? Format::mxfp4 : Format::bf16,
                   .rows = shape.rows,
                   .columns = shape.columns,
                   .source = source,
                   .offset = 0,
                   .row_map = {}};
  }
  return [views](const std::string& name) -> Result<WeightView> {
    const auto it = views.find(name);
    if (it == views.end()) return model_error("no weight is called " + name);
    return it->second;
  };
}

Result<std::optional<Format>> file_format(const char* flag, const std::string& name) {
  if (name.empty()) return std::optional<Format>();
  const std::optional<Format> format = parse_format(name);
  if (format) return format;
  return usage_error(
      fmt::format("{} {}: the CPU back end holds no such format; accelerators do", flag, name));
}

Result<std::string> file_name_of(const char* flag, const std::string& name) {
  if (name.empty() || parse_format(name).has_value()) return name;
  if (name == "int8") return std::string("I8");
  std::string known = "int8";
  for (const FormatTraits& format : all_formats()) known += fmt::format(", {}", format.name);
  return usage_error(
      fmt::format("{} {}: no number format of weights (known: {})", flag, name, known));
}

}  // namespace

bool is_mix(const std::string& name) {
  return !parse_storage(name).ok() && find_quantize_type(name) != nullptr;
}

Result<PlanSource> open_plan_source(const std::string& path, int64_t layers,
                                    const std::string& mix) {
  PlanSource source;
  source.path = path;
  if (is_configuration(path)) {
    if (!mix.empty()) {
      return usage_error(fmt::format(
          "--quantize {} needs the names of a model's tensors; with a configuration alone name one "
          "format, such as Q4_K",
          mix));
    }
    DUNLIN_ASSIGN_OR_RETURN(source.config, read_model_config(path));
  } else {
    DUNLIN_ASSIGN_OR_RETURN(source.checkpoint, open_checkpoint(path));
    if (!mix.empty()) {
      DUNLIN_ASSIGN_OR_RETURN(source.checkpoint,
                              quantize_on_load(std::move(source.checkpoint), mix));
    }
    source.config = source.checkpoint->config();
  }
  const ModelOptions defaults;
  DUNLIN_ASSIGN_OR_RETURN(
      source.program,
      record_model(source.config, {.layers = layers, .logits_view_k = defaults.logits_view_k}));
  DUNLIN_ASSIGN_OR_RETURN(
      source.trained_context,
      source.config.integer_or("max_position_embeddings", 1, int64_t{1} << 31, 2048));
  for (const WeightDeclaration& weight : source.program.weights) {
    const MatrixShape shape = matrix_shape(weight);
    source.parameters += shape.rows * shape.columns;
  }
  if (source.checkpoint == nullptr) {
    source.weights = declared_weights(source.program, source.config, path);
  } else {
    source.weights = [checkpoint = source.checkpoint.get()](const std::string& name) {
      return checkpoint->weight(name);
    };
  }
  return source;
}

Result<Requantization> in_files(const Requantization& named) {
  Requantization formats;
  DUNLIN_ASSIGN_OR_RETURN(formats.matrices, file_name_of("--quantize", named.matrices));
  DUNLIN_ASSIGN_OR_RETURN(formats.vocabulary, file_name_of("--output-type", named.vocabulary));
  return formats;
}

Result<WeightSource> in_formats(const PlanSource& source, const Requantization& to) {
  DUNLIN_ASSIGN_OR_RETURN(const auto matrices, file_format("--quantize", to.matrices));
  DUNLIN_ASSIGN_OR_RETURN(const auto vocabulary, file_format("--output-type", to.vocabulary));
  const std::vector<bool> multiplied = multiplied_weights(source.program);
  std::map<std::string, Format> formats;
  for (size_t i = 0; i < source.program.weights.size(); ++i) {
    const WeightDeclaration& weight = source.program.weights[i];
    if (weight.dims.size() < 2) continue;
    const bool of_vocabulary = vocabulary.has_value() && holds_vocabulary(weight);
    const std::optional<Format>& format = of_vocabulary ? vocabulary : matrices;
    if (!format.has_value() || !(of_vocabulary || multiplied[i])) continue;
    // As quantisers do, rows that are not whole blocks stay as they are.
    if (extent(weight.dims.back()) % traits(format.value()).block_elements == 0)
      formats[weight.name] = format.value();
  }
  return WeightSource(
      [weights = source.weights, formats](const std::string& name) -> Result<WeightView> {
        DUNLIN_ASSIGN_OR_RETURN(WeightView view, weights(name));
        if (const auto it = formats.find(name); it != formats.end()) view.format = it->second;
        return view;
      });
}

std::string storage_summary(const Program& program, const WeightStorage& storage) {
  std::map<std::string, int> counts;
  for (size_t i = 0; i < storage.size(); ++i) {
    if (program.weights[i].dims.size() > 1) ++counts[storage[i].name];
  }
  std::vector<std::pair<std::string, int>> rows(counts.begin(), counts.end());
  std::ranges::sort(rows, {}, [](const auto& row) { return std::pair(-row.second, row.first); });
  std::string summary;
  for (const auto& [name, count] : rows)
    summary += fmt::format("{}{} ({})", summary.empty() ? "" : ", ", name, count);
  return summary;
}

}  // namespace dunlin
