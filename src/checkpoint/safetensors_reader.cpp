// Reads the header of one safetensors file: eight bytes of length, a JSON object {name: {dtype,
// shape, data_offsets}}, then the data. The JSON goes through a handler that accepts nothing else,
// so it is never held as a tree; equal names are found by sorting, which no choice of names slows.
#include "checkpoint/safetensors_reader.h"

#include <fmt/format.h>

#include <algorithm>
#include <nlohmann/json.hpp>
#include <optional>
#include <tuple>

#include "base/checked.h"
#include "base/text_checks.h"

namespace dunlin {
namespace {

constexpr uint64_t kSafetensorsHeaderLimit = 100'000'000;  // the format's own limit
constexpr size_t kMostDimensions = 8;

struct Entry {
  std::string name;
  std::optional<std::string> dtype;
  std::optional<std::vector<uint64_t>> shape;
  std::optional<std::vector<uint64_t>> offsets;  // begin and end within the data
};

// One of two equal names, if there are any. Sorts the list.
const std::string* repeated(std::vector<std::string>& names) {
  std::ranges::sort(names);
  const auto it = std::ranges::adjacent_find(names);
  return it == names.end() ? nullptr : &*it;
}

// What the next JSON value belongs to.
enum class Level { file, tensors, metadata, tensor, shape, offsets };

class HeaderHandler final : public nlohmann::json_sax<nlohmann::json> {
 public:
  std::vector<Entry> entries;
  std::string problem;  // why parsing stopped

  bool start_object(std::size_t) override {
    if (level_ == Level::file) return enter(Level::tensors);
    if (level_ == Level::tensors && name_ == "__metadata__") {
      if (has_metadata_) return stop("__metadata__ occurs twice");
      has_metadata_ = true;
      return enter(Level::metadata);
    }
    if (level_ == Level::tensors) {
      if (entries.size() == kMostSafetensorsNames)
        return stop(fmt::format("more than {} tensors", kMostSafetensorsNames));
      entries.emplace_back().name = name_;
      return enter(Level::tensor);
    }
    return unexpected("an object");
  }

  bool end_object() override {
    if (level_ == Level::tensor) {
      const Entry& entry = entries.back();
      if (!entry.dtype || !entry.shape || !entry.offsets || entry.offsets->size() != 2) {
        return stop(
            fmt::format("the tensor {} lacks its dtype, shape or two data_offsets", entry.name));
      }
    }
    if (level_ == Level::metadata) {
      if (const std::string* const name = repeated(metadata_))
        return stop(fmt::format("__metadata__ has the key {} twice", quoted_text(*name)));
    }
    level_ = level_ == Level::tensors ? Level::file : Level::tensors;
    return true;
  }

  bool key(std::string& text) override {
    if (level_ == Level::tensors) {
      if (!is_visible_ascii(text))
        return stop(fmt::format("the tensor name {} is not visible ASCII", quoted_text(text)));
      name_ = text;
    } else if (level_ == Level::metadata) {
      if (metadata_.size() == kMostSafetensorsNames)
        return stop(fmt::format("more than {} keys of __metadata__", kMostSafetensorsNames));
      metadata_.push_back(std::move(text));
    } else {
      const Entry& entry = entries.back();
      if ((text == "dtype" && entry.dtype) || (text == "shape" && entry.shape) ||
          (text == "data_offsets" && entry.offsets)) {
        return stop(fmt::format("{} has the key {} twice", quoted_text(name_), text));
      }
      field_ = text;
    }
    return true;
  }

  bool start_array(std::size_t) override {
    if (level_ == Level::tensor && field_ == "shape") {
      entries.back().shape.emplace();
      return enter(Level::shape);
    }
    if (level_ == Level::tensor && field_ == "data_offsets") {
      entries.back().offsets.emplace();
      return enter(Level::offsets);
    }
    return unexpected("a list");
  }

  bool end_array() override { return enter(Level::tensor); }

  bool number_unsigned(number_unsigned_t value) override {
    if (level_ == Level::shape) return append(*entries.back().shape, value, kMostDimensions);
    if (level_ == Level::offsets) return append(*entries.back().offsets, value, 2);
    return unexpected("a number");
  }

  bool string(string_t& text) override {
    if (level_ == Level::metadata) return true;
    if (level_ != Level::tensor || field_ != "dtype") return unexpected("a string");
    entries.back().dtype = text;
    return true;
  }

  bool null() override { return unexpected("null"); }
  bool boolean(bool) override { return unexpected("a boolean"); }
  bool number_integer(number_integer_t) override { return unexpected("a negative number"); }
  bool number_float(number_float_t, const string_t&) override {
    return unexpected("a number that is not an integer");
  }
  bool binary(binary_t&) override { return unexpected("binary data"); }
  bool parse_error(std::size_t position, const std::string&,
                   const nlohmann::json::exception&) override {
    return stop(fmt::format("the header is not valid JSON near byte {}", position));
  }

 private:
  bool enter(Level place) {
    level_ = place;
    return true;
  }

  bool stop(std::string why) {
    if (problem.empty()) problem = std::move(why);
    return false;
  }

  bool unexpected(std::string_view what) {
    return stop(name_.empty()
                    ? fmt::format("the header is {}, not an object of tensors", what)
                    : fmt::format("{} is not expected in the entry {}", what, quoted_text(name_)));
  }

  bool append(std::vector<uint64_t>& list, uint64_t value, size_t most) {
    if (list.size() == most)
      return stop(fmt::format("the tensor {} has more than {} {}", name_, most, field_));
    list.push_back(value);
    return true;
  }

  Level level_ = Level::file;
  std::string name_;
  std::string field_;
  std::vector<std::string> metadata_;  // its keys
  bool has_metadata_ = false;
};

Error file_error(const ByteSource& source, std::string_view problem) {
  return model_error(fmt::format("{}: {}", source.name(), problem));
}

Result<std::string> read_header_text(const ByteSource& source) {
  if (source.size() < 8) {
    return file_error(source,
                      fmt::format("{} bytes are too few for a safetensors file", source.size()));
  }
  uint64_t length = 0;
  DUNLIN_RETURN_IF_ERROR(source.read_at(0, std::as_writable_bytes(std::span(&length, 1))));
  if (length > kSafetensorsHeaderLimit || length > source.size() - 8) {
    return file_error(
        source,
        fmt::format("not a safetensors file, or cut short: a header of {} bytes in a file of {}",
                    length, source.size()));
  }
  std::string text(length, '\0');
  DUNLIN_RETURN_IF_ERROR(source.read_at(8, std::as_writable_bytes(std::span(text))));
  if (!text.starts_with('{')) return file_error(source, "the header does not begin with {");
  return text;
}

// Nothing for bytes.
Result<std::optional<Format>> format_of(const ByteSource& source, const Entry& entry) {
  for (const Format format :
       {Format::f32, Format::f16, Format::bf16, Format::f8_e4m3, Format::f8_e5m2, Format::i8}) {
    if (*entry.dtype == traits(format).name) return std::optional(format);
  }
  if (*entry.dtype == "U8") return std::optional<Format>();
  return file_error(
      source,
      fmt::format("the tensor {} is stored as {}; the types that are read are F32, F16, BF16, "
                  "F8_E4M3, F8_E5M2 and I8",
                  entry.name, quoted_text(*entry.dtype)));
}

// Bytes of a tensor, or nothing when the shape overflows.
std::optional<uint64_t> bytes_of(const Entry& entry, std::optional<Format> format) {
  // I8 has blocks of 32 bytes for 32 elements.
  std::optional<int64_t> bytes =
      format ? traits(*format).block_bytes / traits(*format).block_elements : 1;
  for (const uint64_t extent : *entry.shape) {
    const auto signed_extent = checked_cast<int64_t>(extent);
    bytes = signed_extent && bytes ? checked_mul(*bytes, *signed_extent) : std::nullopt;
  }
  return bytes ? std::optional(static_cast<uint64_t>(*bytes)) : std::nullopt;
}

// `next` is where the data of the previous tensor ended; moved to the end of this one.
Result<TensorInfo> place(const ByteSource& source, uint64_t data_start, uint64_t& next,
                         const Entry& entry) {
  DUNLIN_ASSIGN_OR_RETURN(const std::optional<Format> format, format_of(source, entry));
  const uint64_t begin = entry.offsets->at(0);
  const uint64_t end = entry.offsets->at(1);
  if (begin != next) {
    return file_error(
        source,
        fmt::format("the data of the tensor {} begin at {}, not at {} where the previous end",
                    entry.name, begin, next));
  }
  if (end < begin || end > source.size() - data_start) {
    return file_error(
        source,
        fmt::format("the data of the tensor {} are {}..{}, but the file holds {} bytes of data",
                    entry.name, begin, end, source.size() - data_start));
  }
  const auto bytes = bytes_of(entry, format);
  if (bytes != end - begin) {
    return file_error(
        source, fmt::format("the tensor {} of shape [{}] in {} does not have {} bytes", entry.name,
                            fmt::join(*entry.shape, ", "), *entry.dtype, end - begin));
  }
  next = end;
  TensorInfo info;
  info.name = entry.name;
  info.shape.assign(entry.shape->begin(), entry.shape->end());
  info.format = format.value_or(Format::f32);
  info.raw = !format;
  info.bytes = *bytes;
  info.file = source.name();
  info.offset = data_start + begin;
  return info;
}

// The entries of a header, each with all of its fields, by the place of their data.
Result<std::vector<Entry>> read_entries(const ByteSource& source, const std::string& text) {
  HeaderHandler handler;
  if (!nlohmann::json::sax_parse(text, &handler)) return file_error(source, handler.problem);
  std::vector<Entry>& entries = handler.entries;
  std::ranges::sort(entries, {}, &Entry::name);
  const auto twice = std::ranges::adjacent_find(entries, {}, &Entry::name);
  if (twice != entries.end())
    return file_error(source, fmt::format("the tensor {} occurs twice", quoted_text(twice->name)));
  std::ranges::sort(entries, {}, [](const Entry& entry) {
    return std::tuple(entry.offsets->at(0), entry.offsets->at(1), std::string_view(entry.name));
  });
  return std::move(entries);
}

}  // namespace

Result<std::vector<TensorInfo>> read_safetensors_header(const ByteSource& source) {
  uint64_t data_start = 8;
  std::vector<Entry> entries;
  {
    DUNLIN_ASSIGN_OR_RETURN(const std::string text, read_header_text(source));
    data_start += text.size();
    DUNLIN_ASSIGN_OR_RETURN(entries, read_entries(source, text));
  }
  uint64_t next = 0;
  std::vector<TensorInfo> tensors;
  tensors.reserve(entries.size());
  for (const Entry& entry : entries) {
    DUNLIN_ASSIGN_OR_RETURN(TensorInfo info, place(source, data_start, next, entry));
    tensors.push_back(std::move(info));
  }
  if (next != source.size() - data_start) {
    return file_error(source, fmt::format("the tensors end at {} of {} bytes of data", next,
                                          source.size() - data_start));
  }
  return tensors;
}

}  // namespace dunlin
