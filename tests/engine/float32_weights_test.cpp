// Weights of any format as float32, read in pieces of any size.
#include "engine/float32_weights.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstring>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "base/byte_source.h"
#include "base/float16.h"

namespace dunlin {
namespace {

// [3, 4] in bf16: -6 .. 5.
WeightView stored_view() {
  std::vector<std::byte> bytes(3 * 4 * 2);
  for (size_t i = 0; i < 12; ++i) {
    const bfloat16 value = to_bfloat16(static_cast<float>(i) - 6.0f);
    std::memcpy(bytes.data() + 2 * i, &value, 2);
  }
  WeightView view;
  view.name = "matrix";
  view.format = Format::bf16;
  view.rows = 3;
  view.columns = 4;
  view.source = memory_source(std::move(bytes), "file");
  return view;
}

WeightView decoded_view() {
  const WeightSource weights = float32_weights(
      [](const std::string& /*name*/) -> Result<WeightView> { return stored_view(); });
  return weights("matrix").value();
}

TEST(Float32Weights, RowsAreTheDecodedValues) {
  const WeightView view = decoded_view();
  EXPECT_EQ(view.format, Format::f32);
  EXPECT_EQ(view.rows, 3);
  EXPECT_EQ(view.columns, 4);
  std::vector<float> values(8);
  ASSERT_TRUE(view.read_rows(1, 2, std::as_writable_bytes(std::span(values))).ok());
  EXPECT_EQ(values, (std::vector<float>{-2, -1, 0, 1, 2, 3, 4, 5}));
}

TEST(Float32Weights, AnyPartCanBeRead) {
  const WeightView view = decoded_view();
  std::vector<std::byte> all(3 * 4 * 4);
  ASSERT_EQ(view.source->size(), all.size());
  ASSERT_TRUE(view.source->read_at(0, all).ok());
  for (size_t first = 0; first <= all.size(); first += 5) {
    for (size_t count = 0; first + count <= all.size(); count += 7) {
      std::vector<std::byte> part(count);
      ASSERT_TRUE(view.source->read_at(first, part).ok());
      EXPECT_TRUE(std::equal(part.begin(), part.end(), all.begin() + static_cast<int64_t>(first)));
    }
  }
  std::vector<std::byte> beyond(2);
  EXPECT_FALSE(view.source->read_at(all.size() - 1, beyond).ok());
}

TEST(Float32Weights, WhatIsFloat32StaysAndErrorsPass) {
  const WeightSource plain = float32_weights([](const std::string& /*name*/) -> Result<WeightView> {
    WeightView view = stored_view();
    view.format = Format::f32;
    view.columns = 2;
    return view;
  });
  EXPECT_EQ(plain("matrix").value().source->name(), "file");
  EXPECT_EQ(plain("matrix").value().source->size(), 24u);
  const WeightSource missing = float32_weights(
      [](const std::string& name) -> Result<WeightView> { return model_error("no " + name); });
  EXPECT_EQ(missing("matrix").error().message, "no matrix");
}

}  // namespace
}  // namespace dunlin
