// Reads the header of a GGUF file: magic, version, counts, key-value pairs, tensor records, then the
// data section, aligned to general.alignment (ggml's docs/gguf.md). Version 2 made all counts and
// lengths 64 bits wide, version 3 allowed big-endian files: little-endian ones are the same in both.
#include "checkpoint/gguf_reader.h"

#include <fmt/format.h>

#include <algorithm>
#include <bit>
#include <unordered_set>

#include "base/checked.h"
#include "base/text_checks.h"
#include "checkpoint/buffered_reader.h"
#include "checkpoint/families.h"
#include "checkpoint/gguf_tensors.h"
#include "formats/format.h"

namespace dunlin {
namespace {

constexpr uint32_t kMagic = 0x46554747;  // "GGUF"
constexpr uint32_t kSwappedMagic = 0x47475546;
constexpr uint64_t kHeaderLimit = 64 << 20;
constexpr uint64_t kKeyLimit = 65535;
constexpr uint64_t kSmallestPair = 13;  // key length 8, key 1, type 4
constexpr uint64_t kSmallestRecord =
    33;  // name length 8, name 1, dimensions 4, one of 8, type 4, offset 8
constexpr uint64_t kReserveLimit = 65536;  // elements reserved before they were read
constexpr uint32_t kDefaultAlignment = 32;
constexpr uint32_t kAlignmentLimit = 1 << 20;
// MXFP4 of ollama's first converter, before ggml had a number for it: ggml's blocks with the codes in
// Hugging Face's order (ollama, ml/backend/ggml/ggml.go). ggml gave up type 4 before there was GGUF.
constexpr uint32_t kOllamaMxfp4 = 4;

enum class GgufType : uint32_t {
  u8,
  i8,
  u16,
  i16,
  u32,
  i32,
  f32,
  boolean,
  string,
  array,
  u64,
  i64,
  f64
};

// Bytes of an element, the smallest number for a string; 0 for what an array cannot hold.
uint64_t smallest_size(GgufType type) {
  switch (type) {
    case GgufType::u8:
    case GgufType::i8:
    case GgufType::boolean:
      return 1;
    case GgufType::u16:
    case GgufType::i16:
      return 2;
    case GgufType::u32:
    case GgufType::i32:
    case GgufType::f32:
      return 4;
    case GgufType::string:
    case GgufType::u64:
    case GgufType::i64:
    case GgufType::f64:
      return 8;
    case GgufType::array:
      return 0;
  }
  return 0;
}

class GgufParser {
 public:
  explicit GgufParser(const ByteSource& source)
      : source_(source), reader_(source, kHeaderLimit), metadata_(source.name()) {}

  Result<GgufHeader> parse() {
    DUNLIN_RETURN_IF_ERROR(read_preamble());
    for (uint64_t i = 0; i < pair_count_; ++i) DUNLIN_RETURN_IF_ERROR(read_pair());
    DUNLIN_ASSIGN_OR_RETURN(const std::string architecture,
                            metadata_.text_or("general.architecture", ""));
    of_ollama_ = architecture == kOllamaGptOss;
    std::vector<GgufTensorRecord> records;
    records.reserve(std::min(tensor_count_, kReserveLimit));
    for (uint64_t i = 0; i < tensor_count_; ++i) {
      DUNLIN_ASSIGN_OR_RETURN(auto record, read_record(i));
      records.push_back(std::move(record));
    }
    DUNLIN_ASSIGN_OR_RETURN(auto tensors,
                            place_gguf_tensors(source_, reader_.position(), alignment_, records));
    return GgufHeader{std::move(metadata_), std::move(pairs_), std::move(tensors)};
  }

 private:
  template <typename... Args>
  Error error(fmt::format_string<Args...> format, Args&&... args) const {
    return model_error(source_.name() + ": " + fmt::format(format, std::forward<Args>(args)...));
  }

  Result<void> read_preamble() {
    DUNLIN_ASSIGN_OR_RETURN(const auto magic, reader_.number<uint32_t>("the magic number"));
    if (magic == kSwappedMagic) return error("a big-endian GGUF file; convert it to little-endian");
    if (magic != kMagic) {
      return error("not a GGUF file: it begins with {}",
                   quoted_text({reinterpret_cast<const char*>(&magic), sizeof(magic)}));
    }
    DUNLIN_ASSIGN_OR_RETURN(const auto version, reader_.number<uint32_t>("the version"));
    if (version != 0 && (version & 0xffffu) == 0) {
      return error("a big-endian GGUF file; convert it to little-endian");
    }
    if (version == 1) {
      return error("GGUF version 1; versions 2 and 3 are read: convert the original model again");
    }
    if (version != 2 && version != 3) {
      return error("GGUF version {}; versions 2 and 3 are read", version);
    }
    DUNLIN_ASSIGN_OR_RETURN(tensor_count_, reader_.number<uint64_t>("the number of tensors"));
    DUNLIN_ASSIGN_OR_RETURN(pair_count_, reader_.number<uint64_t>("the number of keys"));
    if (pair_count_ > reader_.remaining() / kSmallestPair) {
      return error("{} keys do not fit into the {} bytes that follow", pair_count_,
                   reader_.remaining());
    }
    if (tensor_count_ > reader_.remaining() / kSmallestRecord) {
      return error("{} tensors do not fit into the {} bytes that follow", tensor_count_,
                   reader_.remaining());
    }
    return {};
  }

  Result<GgufType> read_type(const std::string& key) {
    DUNLIN_ASSIGN_OR_RETURN(const auto type, reader_.number<uint32_t>("a value type"));
    if (type > static_cast<uint32_t>(GgufType::f64))
      return error("the key {} has the unknown type {}", key, type);
    return static_cast<GgufType>(type);
  }

  Result<void> read_pair() {
    DUNLIN_ASSIGN_OR_RETURN(const auto length, reader_.number<uint64_t>("the length of a key"));
    if (length == 0 || length > kKeyLimit)
      return error("a key of {} bytes; 1..{} are allowed", length, kKeyLimit);
    DUNLIN_ASSIGN_OR_RETURN(const std::string key, reader_.text(length, "a key"));
    if (!is_visible_ascii(key)) return error("the key {} is not visible ASCII", quoted_text(key));
    if (metadata_.has(key)) return error("the key {} occurs twice", quoted_text(key));
    const uint64_t start = reader_.position();
    DUNLIN_ASSIGN_OR_RETURN(const GgufType type, read_type(key));
    if (key == "general.alignment") {
      DUNLIN_RETURN_IF_ERROR(read_alignment(type));
    } else {
      auto value = type == GgufType::array ? read_array(key) : read_scalar(key, type);
      if (!value.ok()) return value.error();
      metadata_.set(key, std::move(*value));
    }
    pairs_.push_back({key, start, reader_.position() - start});
    return {};
  }

  Result<void> read_alignment(GgufType type) {
    if (type != GgufType::u32) return error("general.alignment is not a UINT32");
    DUNLIN_ASSIGN_OR_RETURN(alignment_, reader_.number<uint32_t>("general.alignment"));
    if (!std::has_single_bit(alignment_) || alignment_ < 8 || alignment_ > kAlignmentLimit) {
      return error("general.alignment is {}, not a power of two in 8..{}", alignment_,
                   kAlignmentLimit);
    }
    metadata_.set("general.alignment", int64_t{alignment_});
    return {};
  }

  Result<Metadata::Value> read_scalar(const std::string& key, GgufType type) {
    if (type == GgufType::string) {
      DUNLIN_ASSIGN_OR_RETURN(std::string text, read_string(key));
      return Metadata::Value(std::move(text));
    }
    if (type == GgufType::f32 || type == GgufType::f64) {
      DUNLIN_ASSIGN_OR_RETURN(const double real, read_real(key, type));
      return Metadata::Value(real);
    }
    DUNLIN_ASSIGN_OR_RETURN(const int64_t integer, read_integer(key, type));
    if (type == GgufType::boolean) return Metadata::Value(integer != 0);
    return Metadata::Value(integer);
  }

  Result<Metadata::Value> read_array(const std::string& key) {
    DUNLIN_ASSIGN_OR_RETURN(const GgufType type, read_type(key));
    if (type == GgufType::array) return error("the key {} is an array of arrays", key);
    DUNLIN_ASSIGN_OR_RETURN(const auto count, reader_.number<uint64_t>(key));
    if (count > reader_.remaining() / smallest_size(type)) {
      return error("{} elements of the key {} do not fit into the {} bytes that follow", count, key,
                   reader_.remaining());
    }
    if (type == GgufType::string)
      return read_elements<std::string>(count, [&] { return read_string(key); });
    if (type == GgufType::f32 || type == GgufType::f64) {
      return read_elements<double>(count, [&] { return read_real(key, type); });
    }
    return read_elements<int64_t>(count, [&] { return read_integer(key, type); });
  }

  template <typename T, typename Read>
  Result<Metadata::Value> read_elements(uint64_t count, Read read) {
    std::vector<T> elements;
    elements.reserve(std::min(count, kReserveLimit));
    for (uint64_t i = 0; i < count; ++i) {
      DUNLIN_ASSIGN_OR_RETURN(auto element, read());
      elements.push_back(std::move(element));
    }
    return Metadata::Value(std::move(elements));
  }

  Result<std::string> read_string(const std::string& key) {
    DUNLIN_ASSIGN_OR_RETURN(const auto length, reader_.number<uint64_t>(key));
    DUNLIN_ASSIGN_OR_RETURN(std::string text, reader_.text(length, key));
    if (!is_utf8(text)) return error("a string of the key {} is not UTF-8", key);
    if (text.find('\0') != std::string::npos)
      return error("a string of the key {} contains a zero byte", key);
    return text;
  }

  Result<double> read_real(const std::string& key, GgufType type) {
    if (type == GgufType::f64) return reader_.number<double>(key);
    DUNLIN_ASSIGN_OR_RETURN(const float value, reader_.number<float>(key));
    return static_cast<double>(value);
  }

  template <typename T>
  Result<int64_t> read_as(const std::string& key) {
    DUNLIN_ASSIGN_OR_RETURN(const T value, reader_.number<T>(key));
    const auto integer = checked_cast<int64_t>(value);
    if (!integer) return error("the key {} is {}, above the largest signed integer", key, value);
    return *integer;
  }

  Result<int64_t> read_integer(const std::string& key, GgufType type) {
    switch (type) {
      case GgufType::u8:
        return read_as<uint8_t>(key);
      case GgufType::i8:
        return read_as<int8_t>(key);
      case GgufType::u16:
        return read_as<uint16_t>(key);
      case GgufType::i16:
        return read_as<int16_t>(key);
      case GgufType::u32:
        return read_as<uint32_t>(key);
      case GgufType::i32:
        return read_as<int32_t>(key);
      case GgufType::u64:
        return read_as<uint64_t>(key);
      case GgufType::i64:
        return read_as<int64_t>(key);
      default:
        break;
    }
    DUNLIN_ASSIGN_OR_RETURN(const auto flag, reader_.number<uint8_t>(key));
    if (flag > 1) return error("the key {} is the boolean {}, not 0 or 1", key, flag);
    return int64_t{flag};
  }

  Result<GgufTensorRecord> read_record(uint64_t index) {
    GgufTensorRecord record;
    DUNLIN_ASSIGN_OR_RETURN(const auto length,
                            reader_.number<uint64_t>("the length of a tensor name"));
    if (length == 0 || length >= 64)
      return error("the name of tensor {} has {} bytes, not 1..63", index, length);
    DUNLIN_ASSIGN_OR_RETURN(record.name, reader_.text(length, "a tensor name"));
    if (!is_visible_ascii(record.name))
      return error("the name of tensor {} is not visible ASCII", index);
    if (!names_.insert(record.name).second) return error("the tensor {} occurs twice", record.name);
    DUNLIN_ASSIGN_OR_RETURN(const auto dimensions, reader_.number<uint32_t>(record.name));
    if (dimensions < 1 || dimensions > 4) {
      return error("the tensor {} has {} dimensions, not 1..4", record.name, dimensions);
    }
    for (uint32_t i = 0; i < dimensions; ++i) {
      DUNLIN_ASSIGN_OR_RETURN(const auto extent, reader_.number<uint64_t>(record.name));
      record.extents.push_back(extent);
    }
    DUNLIN_ASSIGN_OR_RETURN(record.type, reader_.number<uint32_t>(record.name));
    record.neighbours = of_ollama_ && record.type == kOllamaMxfp4;
    if (record.neighbours) record.type = *traits(Format::mxfp4).ggml_type;
    DUNLIN_ASSIGN_OR_RETURN(record.offset, reader_.number<uint64_t>(record.name));
    return record;
  }

  const ByteSource& source_;
  BufferedReader reader_;
  Metadata metadata_;
  std::vector<GgufPair> pairs_;
  std::unordered_set<std::string> names_;
  uint64_t tensor_count_ = 0;
  uint64_t pair_count_ = 0;
  uint32_t alignment_ = kDefaultAlignment;
  bool of_ollama_ = false;
};

}  // namespace

Result<GgufHeader> read_gguf_header(const ByteSource& source) {
  return GgufParser(source).parse();
}

}  // namespace dunlin
