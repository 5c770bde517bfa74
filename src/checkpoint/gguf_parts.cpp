// Opens the parts of a split GGUF file and checks that they are the parts of one model.
#include "checkpoint/gguf_parts.h"

#include <fmt/format.h>

#include <algorithm>
#include <iterator>
#include <unordered_map>

#include "checkpoint/tensor_checks.h"

namespace dunlin {
namespace {

constexpr int64_t kMostParts = 65535;  // split.count is a UINT16

struct PartPlace {
  int64_t number = 1;  // from 1, as names count
  int64_t count = 1;
};

std::string part_path(const std::string& prefix, const PartPlace& place) {
  return fmt::format("{}-{:05}-of-{:05}.gguf", prefix, place.number, place.count);
}

// The place that a header gives; one part of one for a file that is not split.
Result<PartPlace> place_of(const GgufHeader& header) {
  const Metadata& keys = header.metadata;
  PartPlace place;
  DUNLIN_ASSIGN_OR_RETURN(place.count, keys.integer_or("split.count", 0, kMostParts, 1));
  if (place.count <= 1) return PartPlace{};
  DUNLIN_ASSIGN_OR_RETURN(const int64_t index, keys.integer("split.no", 0, place.count - 1));
  place.number = index + 1;
  return place;
}

// NAME of NAME-00001-of-00003.gguf, for the first part.
Result<std::string> prefix_of_first(const ByteSource& source, const PartPlace& place) {
  const std::string& name = source.name();
  const size_t tail = part_path("", place).size();
  if (name.size() > tail) {
    const std::string prefix = name.substr(0, name.size() - tail);
    if (name == part_path(prefix, place)) {
      if (place.number == 1) return prefix;
      return model_error(fmt::format("{}: part {} of {}; name the first part, {}", name,
                                     place.number, place.count,
                                     part_path(prefix, {1, place.count})));
    }
  }
  return model_error(
      fmt::format("{}: its keys say part {} of {}; parts are found by their names, which for this "
                  "one ends in {}",
                  name, place.number, place.count, part_path("", place)));
}

class PartReader {
 public:
  PartReader(GgufModel model, std::shared_ptr<const ByteSource> first)
      : model_(std::move(model)), first_(std::move(first)) {}

  Result<GgufModel> read_others(const std::string& prefix, int64_t count, const OpenPart& open) {
    for (const TensorInfo& tensor : model_.header.tensors) files_.emplace(tensor.name, tensor.file);
    for (int64_t number = 2; number <= count; ++number) {
      const PartPlace place{number, count};
      auto source = open(part_path(prefix, place));
      if (!source.ok()) {
        return model_error(fmt::format("{} (part {} of {} of the model that {} begins)",
                                       source.error().message, number, count, first_->name()));
      }
      DUNLIN_RETURN_IF_ERROR(add(*source, place));
    }
    DUNLIN_RETURN_IF_ERROR(check_count(count));
    return std::move(model_);
  }

 private:
  Result<void> add(const std::shared_ptr<const ByteSource>& source, const PartPlace& expected) {
    DUNLIN_ASSIGN_OR_RETURN(GgufHeader header, read_gguf_header(*source));
    DUNLIN_ASSIGN_OR_RETURN(const PartPlace place, place_of(header));
    if (place.number != expected.number || place.count != expected.count) {
      return model_error(fmt::format("{}: its keys say part {} of {}, not {} of {}", source->name(),
                                     place.number, place.count, expected.number, expected.count));
    }
    for (TensorInfo& tensor : header.tensors) {
      const auto [other, is_new] = files_.emplace(tensor.name, tensor.file);
      if (!is_new) {
        return tensor_error(tensor, fmt::format("is in {} too", other->second));
      }
      model_.header.tensors.push_back(std::move(tensor));
      model_.sources.push_back(source);
    }
    return {};
  }

  Result<void> check_count(int64_t parts) const {
    const auto found = static_cast<int64_t>(model_.header.tensors.size());
    DUNLIN_ASSIGN_OR_RETURN(
        const int64_t expected,
        model_.header.metadata.integer_or("split.tensors.count", 0, INT64_MAX, found));
    if (expected == found) return {};
    return model_error(
        fmt::format("{}: split.tensors.count is {}, but the {} parts have {} tensors",
                    first_->name(), expected, parts, found));
  }

  GgufModel model_;
  std::shared_ptr<const ByteSource> first_;
  std::unordered_map<std::string, std::string> files_;  // of each tensor
};

}  // namespace

Result<GgufModel> read_gguf_model(std::shared_ptr<const ByteSource> first, const OpenPart& open) {
  DUNLIN_ASSIGN_OR_RETURN(GgufHeader header, read_gguf_header(*first));
  DUNLIN_ASSIGN_OR_RETURN(const PartPlace place, place_of(header));
  const size_t tensors = header.tensors.size();
  GgufModel model{std::move(header), {tensors, first}};
  if (place.count == 1) return model;
  DUNLIN_ASSIGN_OR_RETURN(const std::string prefix, prefix_of_first(*first, place));
  return PartReader(std::move(model), first).read_others(prefix, place.count, open);
}

}  // namespace dunlin
