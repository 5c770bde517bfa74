// Random weights in memory. Formats that this build does not encode (Q4_K, Q6_K) get random blocks
// with sane scales.
#include <cmath>
#include <cstring>
#include <map>

#include "base/float16.h"
#include "case_random.h"
#include "case_runner.h"

namespace dunlin {
namespace {

constexpr int64_t kZeroToken = 16;  // one input row in so many is zero

void store_half(float value, std::byte* at) {
  const uint16_t bits = to_float16(value).bits;
  std::memcpy(at, &bits, 2);
}

// Codes and six-bit scales and minimums are random; d and dmin make values of mean 0 and about the
// wanted deviation: Q4_K's mean code is 7.5 and mean scale 31.5.
void random_q4_k(CaseRandom& random, float deviation, std::byte* block) {
  for (int i = 4; i < 144; ++i) block[i] = static_cast<std::byte>(random.bits());
  const float d = deviation / (32.0f * 8.0f);
  store_half(d, block);
  store_half(7.5f * d, block + 2);
}

void random_q6_k(CaseRandom& random, float deviation, std::byte* block) {
  for (int i = 0; i < 208; ++i) block[i] = static_cast<std::byte>(random.bits());
  store_half(deviation / (64.0f * 18.0f), block + 208);
}

std::vector<float> random_row(CaseRandom& random, const std::string& name, bool matrix, int64_t row,
                              int64_t columns) {
  const bool input = name.starts_with("inputs.");
  const float spread = input ? 1.7f : matrix ? std::sqrt(3.0f / static_cast<float>(columns)) : 0.5f;
  const float middle = name.find("norm") != std::string::npos ? 1.0f : 0.0f;
  std::vector<float> values(static_cast<size_t>(columns));
  for (float& value : values) value = middle + spread * random.centered();
  if (input && row % kZeroToken == kZeroToken - 1) values.assign(values.size(), 0.0f);
  return values;
}

std::vector<std::byte> random_bytes(const WeightView& view, bool matrix) {
  const FormatTraits& format = traits(view.format);
  CaseRandom random(view.name);
  const auto row_size = static_cast<size_t>(view.bytes_per_row());
  std::vector<std::byte> bytes(static_cast<size_t>(view.rows) * row_size);
  for (int64_t row = 0; row < view.rows; ++row) {
    std::byte* to = bytes.data() + static_cast<size_t>(row) * row_size;
    if (format.encode != nullptr) {
      const std::vector<float> values = random_row(random, view.name, matrix, row, view.columns);
      format.encode(values.data(), view.columns, to);
      continue;
    }
    const float deviation = 1.0f / std::sqrt(static_cast<float>(view.columns));
    for (int64_t block = 0; block < view.columns / format.block_elements; ++block) {
      (view.format == Format::q4_k ? random_q4_k : random_q6_k)(random, deviation,
                                                                to + block * format.block_bytes);
    }
  }
  return bytes;
}

}  // namespace

WeightSource case_weights(const Program& program, Format format) {
  std::map<std::string, WeightView> views;
  for (const WeightDeclaration& declaration : program.weights) {
    const bool matrix = declaration.dims.size() > 1;
    const bool input = declaration.name.starts_with("inputs.");
    WeightView view;
    view.name = declaration.name;
    view.format = matrix && !input ? format : Format::f32;
    view.columns = extent(declaration.dims.back());
    view.rows = 1;
    for (size_t i = 0; i + 1 < declaration.dims.size(); ++i) {
      view.rows *= extent(declaration.dims[i]);
    }
    view.source = memory_source(random_bytes(view, matrix), "random " + view.name);
    views.emplace(view.name, view);
  }
  return [views = std::move(views)](const std::string& name) -> Result<WeightView> {
    const auto found = views.find(name);
    if (found == views.end()) return model_error("no weight " + name);
    return found->second;
  };
}

}  // namespace dunlin
