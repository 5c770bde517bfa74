// Arena: one block of anonymous memory in huge pages where the system gives them, for weights, KV
// pages and activations.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>

#include "base/result.h"

namespace dunlin::cpu {

inline constexpr int64_t kCacheLine = 64;

inline constexpr int64_t round_up(int64_t value, int64_t multiple) {
  return (value + multiple - 1) / multiple * multiple;
}

// Huge ones are an advice that the system may not follow; small ones it keeps to.
enum class Pages { huge, small };

class Arena {
 public:
  Arena() = default;
  // Zeros, page-aligned. Pages become resident when they are first touched, on the node of the thread that
  // touches them, or on each of several nodes in turn. A reservation that fails is does_not_fit, naming
  // `purpose` and the size.
  static Result<Arena> create(int64_t bytes, const std::string& purpose, Pages pages = Pages::huge);
  ~Arena();
  Arena(Arena&& other) noexcept;
  Arena& operator=(Arena&& other) noexcept;
  Arena(const Arena&) = delete;
  Arena& operator=(const Arena&) = delete;

  // Makes all pages resident now, so that no step pays for them.
  void touch();

  std::byte* data() const { return data_; }
  int64_t bytes() const { return bytes_; }

 private:
  std::byte* data_ = nullptr;
  int64_t bytes_ = 0;
};

}  // namespace dunlin::cpu
