// Xxh3Hash: XXH3 with 128 bits over values of several kinds, for telling contents apart. It finds
// differences and damage, not malice.
#pragma once

#include <fmt/format.h>
#include <xxhash.h>

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <type_traits>
#include <vector>

namespace dunlin {

class Xxh3Hash {
 public:
  static constexpr size_t kDigits = 32;

  Xxh3Hash() : state_(XXH3_createState(), XXH3_freeState) { reset(); }
  void reset() { XXH3_128bits_reset(state_.get()); }

  void bytes(std::span<const std::byte> data) {
    XXH3_128bits_update(state_.get(), data.data(), data.size());
  }
  // With its length, so that neighbours cannot run into each other.
  void text(std::string_view value) {
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

  // Hexadecimal, of what came since the last reset.
  std::string digits() const {
    const XXH128_hash_t hash = XXH3_128bits_digest(state_.get());
    return fmt::format("{:016x}{:016x}", hash.high64, hash.low64);
  }

 private:
  std::unique_ptr<XXH3_state_t, decltype(&XXH3_freeState)> state_;
};

}  // namespace dunlin
