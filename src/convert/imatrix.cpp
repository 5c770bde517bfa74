#include "convert/imatrix.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <iterator>
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
constexpr uint64_t kMostBytes = 256u << 20;  // of a tensor; gpt-oss-120b's have 1.5 MB

Error wrong(const std::string& path, const std::string& tensor, std::string_view problem) {
  return model_error(fmt::format("{}: the tensor {} {}", path, tensor, problem));
}

// The values of a tensor, all finite and not below zero.
Result<std::vector<float>> read_values(const ByteSource& file, const TensorInfo& tensor) {
  if (tensor.format != Format::f32 || tensor.shape.size() > 2 || tensor.bytes > kMostBytes) {
    return wrong(file.name(), tensor.name, "is not a row of F32, nor one for each expert");
  }
  std::vector<float> values(tensor.bytes / sizeof(float));
  DUNLIN_RETURN_IF_ERROR(file.read_at(tensor.offset, std::as_writable_bytes(std::span(values))));
  for (const float value : values) {
    if (!(value >= 0.0f) || !std::isfinite(value))
      return wrong(file.name(), tensor.name, fmt::format("holds {}, no mean square", value));
  }
  return values;
}

// Sums [experts, columns] to means. Without a measurement all columns count alike.
void divide(std::span<const float> counts, std::vector<float>& values) {
  const size_t columns = values.size() / counts.size();
  for (size_t i = 0; i < values.size(); ++i) {
    const float count = counts[i / columns];
    values[i] = count > 0 ? values[i] / count : 1.0f;
  }
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
    DUNLIN_ASSIGN_OR_RETURN(const std::vector<float> of_rows, read_values(*file, *counts));
    const size_t experts = values.size() / static_cast<size_t>(tensor.shape.back());
    if (of_rows.size() != experts) {
      return wrong(path, counts->name,
                   fmt::format("has {} numbers for {} rows of sums", of_rows.size(), experts));
    }
    divide(of_rows, values);
    imatrix.columns.emplace(name, std::move(values));
    for (const float count : of_rows)
      imatrix.rows[name].push_back(static_cast<int64_t>(std::min(count, 0x1p62f)));
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
    const std::vector<int64_t>& rows = imatrix.rows.at(name);
    const int64_t experts = std::ssize(rows);
    const auto columns = std::ssize(means) / experts;
    writer.add_tensor(name + std::string(kSums), {experts, columns}, Format::f32);
    writer.add_tensor(name + std::string(kCounts), {experts, 1}, Format::f32);
    for (size_t i = 0; i < means.size(); ++i)
      data.push_back(means[i] * static_cast<float>(rows[i / static_cast<size_t>(columns)]));
    for (const int64_t count : rows) data.push_back(static_cast<float>(count));
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
    const int64_t experts = tensor.shape.size() == 3 ? tensor.shape[0] : 1;
    if (std::ssize(it->second) != experts * tensor.view.columns) {
      return model_error(fmt::format(
          "the importance matrix has {} columns for {}, the model {}{}: it was measured with "
          "another model",
          it->second.size(), tensor.name, experts * tensor.view.columns,
          experts > 1 ? fmt::format(" of {} experts", experts) : std::string()));
    }
    tensor.importance = it->second;
  }
  return without;
}

}  // namespace dunlin
