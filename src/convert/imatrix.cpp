#include "convert/imatrix.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <span>

#include "checkpoint/gguf_reader.h"
#include "checkpoint/gguf_writer.h"

namespace dunlin {
namespace {

constexpr std::string_view kSums = ".in_sum2";
constexpr std::string_view kCounts = ".counts";
constexpr const char* kType = "imatrix";
constexpr const char* kDatasets = "imatrix.datasets";
constexpr const char* kChunks = "imatrix.chunk_count";
constexpr const char* kChunkSize = "imatrix.chunk_size";
constexpr int64_t kMostColumns = int64_t{1} << 24;

Error wrong(const std::string& path, const std::string& tensor, std::string_view problem) {
  return model_error(fmt::format("{}: the tensor {} {}", path, tensor, problem));
}

// The values of a tensor, all finite and not below zero.
Result<std::vector<float>> read_values(const ByteSource& file, const TensorInfo& tensor) {
  const bool matrix = tensor.shape.size() == 2 && tensor.shape[0] == 1;
  if (tensor.format != Format::f32 || !(matrix || tensor.shape.size() == 1) ||
      tensor.shape.back() > kMostColumns) {
    return wrong(file.name(), tensor.name, "is not one row of F32");
  }
  std::vector<float> values(static_cast<size_t>(tensor.shape.back()));
  DUNLIN_RETURN_IF_ERROR(file.read_at(tensor.offset, std::as_writable_bytes(std::span(values))));
  for (const float value : values) {
    if (!(value >= 0.0f) || !std::isfinite(value))
      return wrong(file.name(), tensor.name, fmt::format("holds {}, no mean square", value));
  }
  return values;
}

}  // namespace

Result<ImportanceMatrix> read_imatrix(const std::string& path) {
  DUNLIN_ASSIGN_OR_RETURN(const auto file, open_file(path));
  const auto header = read_gguf_header(*file);
  if (!header.ok()) {
    return model_error(header.error().message +
                       "; an importance matrix is a GGUF file of llama-imatrix");
  }
  const Metadata& keys = header->metadata;
  DUNLIN_ASSIGN_OR_RETURN(const std::string type, keys.text_or("general.type", ""));
  if (type != kType)
    return model_error(path + ": general.type is not imatrix: this is no importance matrix");
  ImportanceMatrix imatrix;
  DUNLIN_ASSIGN_OR_RETURN(imatrix.chunks, keys.integer_or(kChunks, 0, INT32_MAX, 0));
  DUNLIN_ASSIGN_OR_RETURN(imatrix.chunk_size, keys.integer_or(kChunkSize, 0, INT32_MAX, 0));
  const Metadata::Value* const datasets = keys.find(kDatasets);
  if (const auto* texts = std::get_if<std::vector<std::string>>(datasets))
    imatrix.datasets = *texts;
  for (const TensorInfo& tensor : header->tensors) {
    if (!tensor.name.ends_with(kSums)) continue;
    const std::string name = tensor.name.substr(0, tensor.name.size() - kSums.size());
    const auto counts =
        std::ranges::find(header->tensors, name + std::string(kCounts), &TensorInfo::name);
    if (counts == header->tensors.end())
      return wrong(path, name + std::string(kCounts), "is missing");
    DUNLIN_ASSIGN_OR_RETURN(std::vector<float> values, read_values(*file, tensor));
    DUNLIN_ASSIGN_OR_RETURN(const std::vector<float> count, read_values(*file, *counts));
    // Without a measurement all columns count alike.
    for (float& value : values) value = count[0] > 0 ? value / count[0] : 1.0f;
    imatrix.columns.emplace(name, std::move(values));
    imatrix.rows.emplace(name, static_cast<int64_t>(std::min(count[0], 0x1p62f)));
  }
  if (imatrix.columns.empty()) return model_error(path + ": the importance matrix has no entries");
  return imatrix;
}

Result<void> write_imatrix(const ImportanceMatrix& imatrix, const std::string& path) {
  DUNLIN_ASSIGN_OR_RETURN(GgufWriter writer, GgufWriter::create(path));
  writer.set_text("general.type", kType);
  writer.set_texts(kDatasets, imatrix.datasets);
  writer.set_u32(kChunks, static_cast<uint32_t>(imatrix.chunks));
  writer.set_u32(kChunkSize, static_cast<uint32_t>(imatrix.chunk_size));
  std::vector<float> data;
  for (const auto& [name, means] : imatrix.columns) {
    const auto rows = static_cast<float>(imatrix.rows.at(name));
    writer.add_tensor(name + std::string(kSums), {1, std::ssize(means)}, Format::f32);
    writer.add_tensor(name + std::string(kCounts), {1, 1}, Format::f32);
    for (const float mean : means) data.push_back(mean * rows);
    data.push_back(rows);
  }
  DUNLIN_RETURN_IF_ERROR(writer.begin_data());
  DUNLIN_RETURN_IF_ERROR(writer.write(std::as_bytes(std::span(data))));
  return writer.finish();
}

Result<std::vector<std::string>> apply_imatrix(const ImportanceMatrix& imatrix,
                                               std::vector<TensorPlan>& tensors) {
  std::vector<std::string> without;
  for (TensorPlan& tensor : tensors) {
    const bool encoded = tensor.shape.size() > 1 && tensor.format != tensor.view.format &&
                         traits(tensor.format).block_elements > 1;
    if (!encoded) continue;
    const auto it = imatrix.columns.find(tensor.name);
    if (it == imatrix.columns.end()) {
      without.push_back(tensor.name);
      continue;
    }
    if (std::ssize(it->second) != tensor.view.columns) {
      return model_error(
          fmt::format("the importance matrix has {} columns for {}, the model {}: it was measured "
                      "with another model",
                      it->second.size(), tensor.name, tensor.view.columns));
    }
    tensor.importance = it->second;
  }
  return without;
}

}  // namespace dunlin
