// The safetensors layout: u64 little-endian length of a JSON header, the header, the data (huggingface/safetensors).
#include "parity/array_file.h"

#include <fmt/format.h>

#include <array>
#include <cstring>
#include <limits>
#include <nlohmann/json.hpp>
#include <span>

#include "base/checked.h"
#include "base/json_document.h"

namespace dunlin {
namespace {

using Json = nlohmann::json;

constexpr uint64_t kMaxHeaderBytes = 16u << 20;

Error malformed(const std::string& path, const std::string& what) {
  return model_error(fmt::format("{}: {}", path, what));
}

// A list of non-negative integers, or nothing.
std::optional<std::vector<uint64_t>> unsigned_list(const Json& value) {
  if (!value.is_array()) return std::nullopt;
  std::vector<uint64_t> list;
  for (const Json& item : value) {
    if (!item.is_number_unsigned()) return std::nullopt;
    list.push_back(item.get<uint64_t>());
  }
  return list;
}

// Bytes of `shape` four-byte elements, or nothing when that or a size overflows.
std::optional<uint64_t> bytes_of(const std::vector<uint64_t>& shape) {
  uint64_t bytes = 4;
  for (const uint64_t size : shape) {
    if (size > uint64_t{std::numeric_limits<int64_t>::max()}) return std::nullopt;
    const auto product = checked_mul(bytes, size);
    if (!product || *product > uint64_t{std::numeric_limits<int64_t>::max()}) return std::nullopt;
    bytes = *product;
  }
  return bytes;
}

bool is_four_bytes(const std::string& dtype) {
  return dtype == "F32" || dtype == "I32";
}

template <typename T>
Result<std::vector<T>> read_values(const ByteSource& source, uint64_t begin, uint64_t bytes) {
  std::vector<T> values(bytes / sizeof(T));
  DUNLIN_RETURN_IF_ERROR(source.read_at(begin, std::as_writable_bytes(std::span(values))));
  return values;
}

}  // namespace

Result<ArrayFile> ArrayFile::open(const std::string& path) {
  DUNLIN_ASSIGN_OR_RETURN(auto source, open_file(path));
  return open(std::move(source));
}

Result<ArrayFile> ArrayFile::open(std::shared_ptr<const ByteSource> source) {
  ArrayFile file;
  file.source_ = std::move(source);
  const std::string& path = file.path();
  uint64_t length = 0;
  DUNLIN_RETURN_IF_ERROR(file.source_->read_at(0, std::as_writable_bytes(std::span(&length, 1))));
  if (length > kMaxHeaderBytes || length > file.source_->size() - sizeof length) {
    return malformed(path, fmt::format("the header's length {} is larger than the file or {} bytes",
                                       length, kMaxHeaderBytes));
  }
  std::string text(length, '\0');
  DUNLIN_RETURN_IF_ERROR(
      file.source_->read_at(sizeof length, std::as_writable_bytes(std::span(text))));
  file.data_begin_ = sizeof length + length;
  const uint64_t data_bytes = file.source_->size() - file.data_begin_;
  DUNLIN_ASSIGN_OR_RETURN(const Json header, parse_json_object(text, path));

  for (const auto& [name, value] : header.items()) {
    if (name == "__metadata__") {
      if (!value.is_object()) return malformed(path, "__metadata__ is not an object");
      for (const auto& [key, item] : value.items()) {
        if (!item.is_string())
          return malformed(path, fmt::format("__metadata__.{} is not a string", key));
        file.metadata_[key] = item.get<std::string>();
      }
      continue;
    }
    if (!value.is_object() || !value.contains("dtype") || !value["dtype"].is_string()) {
      return malformed(path, fmt::format("{} has no dtype", name));
    }
    const auto shape = unsigned_list(value.value("shape", Json()));
    const auto offsets = unsigned_list(value.value("data_offsets", Json()));
    if (!shape || !offsets || offsets->size() != 2)
      return malformed(path, fmt::format("{} has no shape or data_offsets", name));
    Entry entry{value["dtype"].get<std::string>(), Shape(shape->begin(), shape->end()),
                (*offsets)[0], (*offsets)[1]};
    if (entry.begin > entry.end || entry.end > data_bytes) {
      return malformed(
          path, fmt::format("{}: data_offsets [{}, {}] lie outside the {} bytes of data", name,
                            entry.begin, entry.end, data_bytes));
    }
    if (is_four_bytes(entry.dtype) && bytes_of(*shape) != entry.end - entry.begin) {
      return malformed(path, fmt::format("{}: shape and data_offsets disagree", name));
    }
    file.entries_.emplace(name, std::move(entry));
  }
  return file;
}

std::vector<std::string> ArrayFile::names() const {
  std::vector<std::string> names;
  for (const auto& [name, entry] : entries_) names.push_back(name);
  return names;
}

Result<Array> ArrayFile::read(const std::string& name) const {
  const auto it = entries_.find(name);
  if (it == entries_.end())
    return model_error(fmt::format("{}: there is no tensor {}", path(), name));
  const Entry& entry = it->second;
  if (!is_four_bytes(entry.dtype)) {
    return model_error(fmt::format("{}: {} has type {}; reference values are F32 or I32", path(),
                                   name, entry.dtype));
  }
  Array array{.dtype = entry.dtype == "F32" ? DType::f32 : DType::i32, .shape = entry.shape};
  const uint64_t begin = data_begin_ + entry.begin;
  const uint64_t bytes = entry.end - entry.begin;
  if (array.dtype == DType::f32) {
    DUNLIN_ASSIGN_OR_RETURN(array.floats, read_values<float>(*source_, begin, bytes));
  } else {
    DUNLIN_ASSIGN_OR_RETURN(array.integers, read_values<int32_t>(*source_, begin, bytes));
  }
  return array;
}

Result<void> write_array_file(const std::string& path, const std::map<std::string, Array>& arrays,
                              const std::map<std::string, std::string>& metadata) {
  Json header = Json::object();
  if (!metadata.empty()) header["__metadata__"] = metadata;
  uint64_t offset = 0;
  for (const auto& [name, array] : arrays) {
    const uint64_t bytes = 4 * static_cast<uint64_t>(element_count(array.shape));
    header[name] = {{"dtype", array.dtype == DType::f32 ? "F32" : "I32"},
                    {"shape", array.shape},
                    {"data_offsets", {offset, offset + bytes}}};
    offset += bytes;
  }
  std::string text = header.dump();
  text.append((8 - text.size() % 8) % 8, ' ');
  const uint64_t length = text.size();
  std::vector<std::byte> bytes;
  bytes.reserve(sizeof length + text.size() + offset);
  const auto append = [&bytes](std::span<const std::byte> part) {
    bytes.insert(bytes.end(), part.begin(), part.end());
  };
  append(std::as_bytes(std::span(&length, 1)));
  append(std::as_bytes(std::span(text)));
  for (const auto& [name, array] : arrays) {
    append(array.dtype == DType::f32 ? std::as_bytes(std::span(array.floats))
                                     : std::as_bytes(std::span(array.integers)));
  }
  return write_file_atomically(path, bytes);
}

}  // namespace dunlin
