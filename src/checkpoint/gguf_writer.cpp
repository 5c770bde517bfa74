// Layout: ggml's docs/gguf.md. Every tensor begins at a multiple of 32 bytes, the default alignment,
// and the last one is padded to it too.
#include "checkpoint/gguf_writer.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstring>
#include <optional>
#include <type_traits>
#include <unordered_set>
#include <utility>

#include "base/check.h"
#include "base/checked.h"

namespace dunlin {
namespace {

constexpr uint64_t kDataAlignment = 32;
constexpr size_t kNameLimit = 63;
constexpr size_t kGgufDimensions = 4;

// Type ids of values.
constexpr uint32_t kU32 = 4;
constexpr uint32_t kI32 = 5;
constexpr uint32_t kF32 = 6;
constexpr uint32_t kBool = 7;
constexpr uint32_t kString = 8;
constexpr uint32_t kArray = 9;

template <typename T>
  requires std::is_arithmetic_v<T>
std::string raw(T value) {
  std::string bytes(sizeof(T), '\0');
  std::memcpy(bytes.data(), &value, sizeof(T));
  return bytes;
}

std::string raw(std::string_view text) {
  return raw(uint64_t{text.size()}) + std::string(text);
}

template <typename T>
std::string raw_array(uint32_t type, std::span<const T> values) {
  std::string bytes = raw(kArray) + raw(type) + raw(uint64_t{values.size()});
  for (const T& value : values) {
    if constexpr (std::is_arithmetic_v<T>) {
      bytes += raw(value);
    } else {
      bytes += raw(std::string_view(value));
    }
  }
  return bytes;
}

uint64_t padding(uint64_t offset) {
  return (kDataAlignment - offset % kDataAlignment) % kDataAlignment;
}

// Bytes of a tensor, or nothing where there is no such tensor.
std::optional<uint64_t> tensor_bytes(const std::vector<int64_t>& shape, const FormatTraits& row) {
  if (shape.empty() || shape.size() > kGgufDimensions) return std::nullopt;
  if (shape.back() % row.block_elements != 0) return std::nullopt;
  int64_t bytes = row.block_bytes;
  for (size_t i = 0; i < shape.size(); ++i) {
    const bool columns = i + 1 == shape.size();
    if (shape[i] < 1) return std::nullopt;
    const auto product = checked_mul(bytes, columns ? shape[i] / row.block_elements : shape[i]);
    if (!product) return std::nullopt;
    bytes = *product;
  }
  return static_cast<uint64_t>(bytes);
}

std::span<const std::byte> bytes_of(const std::string& text) {
  return std::as_bytes(std::span(text));
}

}  // namespace

Result<GgufWriter> GgufWriter::create(const std::string& path, const std::string& key) {
  DUNLIN_ASSIGN_OR_RETURN(ResumableFile file, ResumableFile::create(path, key));
  return GgufWriter(path, std::move(file));
}

void GgufWriter::set_u32(const std::string& key, uint32_t value) {
  set_stored(key, bytes_of(raw(kU32) + raw(value)));
}
void GgufWriter::set_i32(const std::string& key, int32_t value) {
  set_stored(key, bytes_of(raw(kI32) + raw(value)));
}
void GgufWriter::set_f32(const std::string& key, float value) {
  set_stored(key, bytes_of(raw(kF32) + raw(value)));
}
void GgufWriter::set_bool(const std::string& key, bool value) {
  set_stored(key, bytes_of(raw(kBool) + raw(static_cast<uint8_t>(value))));
}
void GgufWriter::set_text(const std::string& key, std::string_view value) {
  set_stored(key, bytes_of(raw(kString) + raw(value)));
}
void GgufWriter::set_i32s(const std::string& key, std::span<const int32_t> values) {
  set_stored(key, bytes_of(raw_array(kI32, values)));
}
void GgufWriter::set_texts(const std::string& key, std::span<const std::string> values) {
  set_stored(key, bytes_of(raw_array(kString, values)));
}

void GgufWriter::set_stored(const std::string& key, std::span<const std::byte> type_and_value) {
  DUNLIN_CHECK(file_offset_ == 0, "keys come before the data");
  // Every tensor is placed by the default.
  if (key == "general.alignment") return;
  std::string value(reinterpret_cast<const char*>(type_and_value.data()), type_and_value.size());
  const auto same = std::ranges::find(pairs_, key, &Pair::key);
  if (same != pairs_.end()) {
    same->value = std::move(value);
  } else {
    pairs_.push_back({key, std::move(value)});
  }
}

void GgufWriter::add_tensor(const std::string& name, std::vector<int64_t> shape, Format format) {
  DUNLIN_CHECK(file_offset_ == 0, "tensors are listed before the data");
  tensors_.push_back({name, std::move(shape), format});
}

Result<void> GgufWriter::check_tensors() {
  std::unordered_set<std::string_view> names;
  for (Tensor& tensor : tensors_) {
    const auto wrong = [&](std::string_view problem) {
      return runtime_error(fmt::format("{}: the tensor {} {}", path_, tensor.name, problem));
    };
    if (tensor.name.empty() || tensor.name.size() > kNameLimit) {
      return wrong(
          fmt::format("has a name of {} bytes, not 1..{}", tensor.name.size(), kNameLimit));
    }
    if (!names.insert(tensor.name).second) return wrong("is listed twice");
    const FormatTraits& row = traits(tensor.format);
    if (!row.ggml_type)
      return wrong(fmt::format("is in {}, which GGUF files do not have", row.name));
    const auto bytes = tensor_bytes(tensor.shape, row);
    if (!bytes) {
      return wrong(
          fmt::format("of shape [{}] cannot be stored as {}: 1 to 4 dimensions, rows of "
                      "whole blocks of {}",
                      fmt::join(tensor.shape, ", "), row.name, row.block_elements));
    }
    tensor.bytes = *bytes;
  }
  return {};
}

std::string GgufWriter::header() const {
  std::string bytes =
      "GGUF" + raw(uint32_t{3}) + raw(uint64_t{tensors_.size()}) + raw(uint64_t{pairs_.size()});
  for (const Pair& pair : pairs_) bytes += raw(std::string_view(pair.key)) + pair.value;
  uint64_t offset = 0;
  for (const Tensor& tensor : tensors_) {
    bytes += raw(std::string_view(tensor.name)) + raw(static_cast<uint32_t>(tensor.shape.size()));
    for (auto it = tensor.shape.rbegin(); it != tensor.shape.rend(); ++it) {
      bytes += raw(static_cast<uint64_t>(*it));
    }
    bytes += raw(*traits(tensor.format).ggml_type) + raw(offset);
    offset += tensor.bytes + padding(tensor.bytes);
  }
  bytes.resize(bytes.size() + padding(bytes.size()));
  return bytes;
}

Result<void> GgufWriter::begin_data() {
  DUNLIN_CHECK(file_offset_ == 0, "the header is written once");
  DUNLIN_RETURN_IF_ERROR(check_tensors());
  const std::string bytes = header();
  file_offset_ = bytes.size();
  return file_.begin(bytes_of(bytes), bytes.size() + data_bytes());
}

uint64_t GgufWriter::data_bytes() const {
  uint64_t bytes = 0;
  for (const Tensor& tensor : tensors_) bytes += tensor.bytes + padding(tensor.bytes);
  return bytes;
}

Result<bool> GgufWriter::skip_tensor() {
  DUNLIN_CHECK(file_offset_ > 0 && written_ == 0 && current_ < tensors_.size(),
               "a tensor is skipped as a whole");
  const uint64_t bytes = tensors_[current_].bytes;
  DUNLIN_ASSIGN_OR_RETURN(const bool there, file_.skip_part(bytes + padding(bytes)));
  if (!there) return false;
  file_offset_ += bytes + padding(bytes);
  ++current_;
  return true;
}

Result<void> GgufWriter::pad() {
  constexpr std::byte kZeros[kDataAlignment] = {};
  const uint64_t count = padding(file_offset_);
  file_offset_ += count;
  return file_.write(std::span(kZeros, count));
}

Result<void> GgufWriter::write(std::span<const std::byte> bytes) {
  DUNLIN_CHECK(file_offset_ > 0, "begin_data comes first");
  while (!bytes.empty()) {
    DUNLIN_CHECK(current_ < tensors_.size(), "more bytes than the tensors have");
    const uint64_t left = tensors_[current_].bytes - written_;
    const auto piece = bytes.first(std::min<size_t>(bytes.size(), left));
    DUNLIN_RETURN_IF_ERROR(file_.write(piece));
    bytes = bytes.subspan(piece.size());
    written_ += piece.size();
    file_offset_ += piece.size();
    DUNLIN_RETURN_IF_ERROR(end_whole_tensors());
  }
  return {};
}

// The one that was being written, and then that of which all bytes were there ahead.
Result<void> GgufWriter::end_whole_tensors() {
  while (current_ < tensors_.size() && written_ == tensors_[current_].bytes) {
    DUNLIN_RETURN_IF_ERROR(pad());
    DUNLIN_RETURN_IF_ERROR(file_.end_part());
    ++current_;
    written_ = std::exchange(ahead_, 0);
    file_offset_ += written_;
  }
  return {};
}

Result<void> GgufWriter::write_ahead(std::span<const std::byte> bytes) {
  DUNLIN_CHECK(file_offset_ > 0 && current_ + 1 < tensors_.size() &&
                   bytes.size() <= tensors_[current_ + 1].bytes - ahead_,
               "more bytes than the next tensor has");
  const uint64_t end = file_offset_ - written_ + tensors_[current_].bytes;
  DUNLIN_RETURN_IF_ERROR(file_.write_ahead(end + padding(end), bytes));
  ahead_ += bytes.size();
  return {};
}

Result<void> GgufWriter::finish() {
  DUNLIN_CHECK(file_offset_ > 0 && current_ == tensors_.size(), "bytes of tensors are missing");
  return file_.commit();
}

}  // namespace dunlin
