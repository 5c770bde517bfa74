// Shared by the kernel tests: the tables to test, random values, aligned memory, formats for
// packing, bit comparison.
#pragma once

#include <gtest/gtest.h>

#include <cstdlib>
#include <cstring>
#include <memory>
#include <random>
#include <string>
#include <vector>

#include "backend/cpu/kernels/kernels.h"
#include "reference.h"

namespace dunlin {

// The instruction sets this processor has.
inline std::vector<Isa> available_isas() {
  return isas_up_to(cpu_features().best);
}

struct AlignedMemory {
  explicit AlignedMemory(int64_t bytes)
      : data(static_cast<std::byte*>(
            std::aligned_alloc(64, static_cast<size_t>((bytes + 63) / 64 * 64 + 64)))) {
    std::memset(data.get(), 0xff, static_cast<size_t>((bytes + 63) / 64 * 64 + 64));  // floats: NaN
  }
  struct Free {
    void operator()(std::byte* p) const { std::free(p); }
  };
  std::byte* get() const { return data.get(); }
  float* floats() const { return reinterpret_cast<float*>(data.get()); }
  std::unique_ptr<std::byte, Free> data;
};

inline std::vector<float> random_floats(int64_t n, std::mt19937& random, float scale = 1.0f) {
  std::normal_distribution<float> normal(0.0f, scale);
  std::vector<float> values(static_cast<size_t>(n));
  for (float& value : values) value = normal(random);
  return values;
}

// Bit for bit, naming the first difference.
inline testing::AssertionResult same_bits(const float* actual, const float* expected, int64_t n) {
  for (int64_t i = 0; i < n; ++i) {
    if (std::memcmp(actual + i, expected + i, 4) == 0) continue;
    return testing::AssertionFailure()
           << "element " << i << " is " << testing::PrintToString(actual[i]) << ", expected "
           << testing::PrintToString(expected[i]);
  }
  return testing::AssertionSuccess();
}
inline testing::AssertionResult same_bits(const std::vector<float>& actual,
                                          const std::vector<float>& expected) {
  if (actual.size() != expected.size()) return testing::AssertionFailure() << "sizes differ";
  return same_bits(actual.data(), expected.data(), static_cast<int64_t>(actual.size()));
}

}  // namespace dunlin
