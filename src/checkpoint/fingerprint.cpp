#include "checkpoint/fingerprint.h"

#include <fmt/format.h>
#include <xxhash.h>

#include <algorithm>
#include <array>
#include <memory>
#include <variant>

namespace dunlin {
namespace {

constexpr uint64_t kSampleBytes = 4096;

class Hasher {
 public:
  Hasher() : state_(XXH3_createState(), XXH3_freeState) { XXH3_128bits_reset(state_.get()); }

  void bytes(std::span<const std::byte> data) {
    XXH3_128bits_update(state_.get(), data.data(), data.size());
  }
  // With its length, so that neighbours cannot run into each other.
  void text(const std::string& value) {
    number(value.size());
    bytes(std::as_bytes(std::span(value)));
  }
  template <typename T>
    requires std::is_arithmetic_v<T>
  void number(T value) {
    bytes(std::as_bytes(std::span(&value, 1)));
  }
  template <typename T>
  void list(const std::vector<T>& values) {
    number(values.size());
    for (const T& each : values) {
      if constexpr (std::is_arithmetic_v<T>) {
        number(each);
      } else {
        text(each);
      }
    }
  }

  std::string digits() const {
    const XXH128_hash_t hash = XXH3_128bits_digest(state_.get());
    return fmt::format("{:016x}{:016x}", hash.high64, hash.low64);
  }

 private:
  std::unique_ptr<XXH3_state_t, decltype(&XXH3_freeState)> state_;
};

void add_config(Hasher& hasher, const Metadata& config) {
  for (const auto& [key, value] : config.values()) {
    hasher.text(key);
    hasher.number(value.index());
    std::visit(
        [&hasher](const auto& each) {
          using T = std::decay_t<decltype(each)>;
          if constexpr (std::is_arithmetic_v<T>) {
            hasher.number(each);
          } else if constexpr (std::is_same_v<T, std::string>) {
            hasher.text(each);
          } else {
            hasher.list(each);
          }
        },
        value);
  }
}

Result<void> add_samples(Hasher& hasher, const WeightView& weight) {
  const auto bytes = static_cast<uint64_t>(weight.rows * weight.bytes_per_row());
  const uint64_t sample = std::min(bytes, kSampleBytes);
  std::vector<std::byte> data(sample);
  for (const uint64_t from : {uint64_t{0}, (bytes - sample) / 2, bytes - sample}) {
    DUNLIN_RETURN_IF_ERROR(weight.source->read_at(weight.offset + from, data));
    hasher.bytes(data);
  }
  return {};
}

}  // namespace

Result<std::string> fingerprint(const Checkpoint& checkpoint) {
  Hasher hasher;
  hasher.text(checkpoint.container());
  add_config(hasher, checkpoint.config());
  for (const TensorInfo& tensor : checkpoint.tensors()) {
    if (tensor.canonical_name.empty()) continue;
    hasher.text(tensor.canonical_name);
    hasher.list(tensor.shape);
    hasher.text(traits(tensor.format).name);
    DUNLIN_ASSIGN_OR_RETURN(const WeightView weight, checkpoint.weight(tensor.canonical_name));
    DUNLIN_RETURN_IF_ERROR(add_samples(hasher, weight));
  }
  return hasher.digits();
}

}  // namespace dunlin
