// Checks the tensor records of a GGUF header against the file. Type ids are those of ggml.h (enum
// ggml_type).
#include "checkpoint/gguf_tensors.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/checked.h"
#include "checkpoint/tensor_checks.h"

namespace dunlin {
namespace {

struct NamedType {
  uint32_t type;
  const char* name;
};

// Types that other engines write and no format here decodes.
constexpr NamedType kOtherTypes[] = {
    {9, "Q8_1"},   {15, "Q8_K"},   {16, "IQ2_XXS"}, {17, "IQ2_XS"}, {18, "IQ3_XXS"},
    {19, "IQ1_S"}, {20, "IQ4_NL"}, {21, "IQ3_S"},   {22, "IQ2_S"},  {23, "IQ4_XS"},
    {24, "I8"},    {25, "I16"},    {26, "I32"},     {27, "I64"},    {28, "F64"},
    {29, "IQ1_M"}, {34, "TQ1_0"},  {35, "TQ2_0"},   {40, "NVFP4"},
};

std::string type_name(uint32_t type) {
  for (const NamedType& row : kOtherTypes) {
    if (row.type == type) return row.name;
  }
  return fmt::format("the unknown type {}", type);
}

Result<Format> format_of(const ByteSource& source, const GgufTensorRecord& record) {
  if (const auto format = format_from_ggml_type(record.type)) return *format;
  std::string known;
  for (const FormatTraits& row : all_formats()) {
    if (row.ggml_type) known += fmt::format(" {}", row.name);
  }
  return tensor_error(source.name(), record.name,
                      fmt::format("is stored as {}; the formats that are read are{}",
                                  type_name(record.type), known));
}

// Bytes of the tensor, or nothing when the extents overflow.
std::optional<uint64_t> bytes_of(const GgufTensorRecord& record, const FormatTraits& format) {
  int64_t blocks = 1;
  for (size_t i = 0; i < record.extents.size(); ++i) {
    const auto extent = checked_cast<int64_t>(record.extents[i]);
    if (!extent) return std::nullopt;
    const auto product = checked_mul(blocks, i == 0 ? *extent / format.block_elements : *extent);
    if (!product) return std::nullopt;
    blocks = *product;
  }
  // Elements too must be countable, as callers multiply rows by columns.
  if (!checked_mul(blocks, format.block_elements)) return std::nullopt;
  const auto bytes = checked_mul(blocks, format.block_bytes);
  return bytes ? std::optional(static_cast<uint64_t>(*bytes)) : std::nullopt;
}

Result<TensorInfo> place(const ByteSource& source, uint64_t data_start, uint64_t alignment,
                         const GgufTensorRecord& record) {
  DUNLIN_ASSIGN_OR_RETURN(const Format format, format_of(source, record));
  const FormatTraits& row = traits(format);
  if (std::ranges::find(record.extents, 0u) != record.extents.end()) {
    return tensor_error(source.name(), record.name, "has a dimension of 0");
  }
  if (record.extents[0] % static_cast<uint64_t>(row.block_elements) != 0) {
    return tensor_error(source.name(), record.name,
                        fmt::format("has rows of {} elements, not whole blocks of {} ({})",
                                    record.extents[0], row.block_elements, row.name));
  }
  const auto bytes = bytes_of(record, row);
  if (!bytes) return tensor_error(source.name(), record.name, "is larger than any file");
  if (record.offset % alignment != 0) {
    return tensor_error(
        source.name(), record.name,
        fmt::format("is at offset {}, not a multiple of {}", record.offset, alignment));
  }
  const auto begin = checked_add(data_start, record.offset);
  const auto end = begin ? checked_add(*begin, *bytes) : std::nullopt;
  if (!end || *end > source.size()) {
    return tensor_error(source.name(), record.name,
                        fmt::format("needs {} bytes at data offset {}, beyond the file's {} bytes",
                                    *bytes, record.offset, source.size()));
  }
  TensorInfo info;
  info.name = record.name;
  for (auto it = record.extents.rbegin(); it != record.extents.rend(); ++it) {
    info.shape.push_back(static_cast<int64_t>(*it));
  }
  info.format = format;
  info.bytes = *bytes;
  info.file = source.name();
  info.offset = *begin;
  info.neighbours = record.neighbours;
  return info;
}

Result<void> check_disjoint(const ByteSource& source, const std::vector<TensorInfo>& tensors,
                            uint64_t data_start, uint64_t alignment) {
  std::vector<const TensorInfo*> by_offset;
  for (const TensorInfo& tensor : tensors) by_offset.push_back(&tensor);
  std::ranges::sort(by_offset, {}, &TensorInfo::offset);
  uint64_t end = data_start;
  for (size_t i = 0; i < by_offset.size(); ++i) {
    if (by_offset[i]->offset < end) {
      return tensor_error(*by_offset[i],
                          fmt::format("overlaps the tensor {}", by_offset[i - 1]->name));
    }
    end = by_offset[i]->offset + by_offset[i]->bytes;
  }
  if (source.size() > end && source.size() - end >= alignment) {
    return model_error(
        fmt::format("{}: {} bytes follow the last tensor", source.name(), source.size() - end));
  }
  return {};
}

}  // namespace

Result<std::vector<TensorInfo>> place_gguf_tensors(const ByteSource& source, uint64_t header_end,
                                                   uint64_t alignment,
                                                   std::span<const GgufTensorRecord> records) {
  const uint64_t data_start =
      (header_end + alignment - 1) / alignment * alignment;  // both are bounded by the reader
  std::vector<TensorInfo> tensors;
  tensors.reserve(records.size());
  for (const GgufTensorRecord& record : records) {
    DUNLIN_ASSIGN_OR_RETURN(TensorInfo info, place(source, data_start, alignment, record));
    tensors.push_back(std::move(info));
  }
  DUNLIN_RETURN_IF_ERROR(check_disjoint(source, tensors, data_start, alignment));
  return tensors;
}

}  // namespace dunlin
