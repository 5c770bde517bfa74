// Orders of experts: whole tensors against sums by hand, and any piece of them against the whole.
#include "convert/expert_sources.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstring>
#include <memory>
#include <numeric>
#include <span>
#include <utility>
#include <vector>

#include "base/counted_source.h"
#include "checkpoint/strided_source.h"
#include "formats/mxfp4.h"

namespace dunlin {
namespace {

using Bytes = std::vector<std::byte>;

constexpr int64_t kStacks = 2;
constexpr int64_t kRows = 3;
constexpr int64_t kColumns = 5;
constexpr int64_t kElements = kStacks * kRows * kColumns;

// Float32 first, first + 1, .., behind some other bytes.
WeightView counting(float first, const std::shared_ptr<ReadCount>& count) {
  std::vector<float> values(static_cast<size_t>(kElements));
  std::iota(values.begin(), values.end(), first);
  Bytes bytes(8 + values.size() * sizeof(float));
  std::memcpy(bytes.data() + 8, values.data(), values.size() * sizeof(float));
  WeightView view;
  view.name = "w";
  view.rows = kStacks * kRows;
  view.columns = kColumns;
  view.source = std::make_shared<CountedSource>(memory_source(std::move(bytes), "file"), count);
  view.offset = 8;
  return view;
}

Bytes whole(const ByteSource& source) {
  Bytes bytes(source.size());
  const auto read = source.read_at(0, bytes);
  EXPECT_TRUE(read.ok()) << read.error().message;
  return bytes;
}

std::vector<float> floats(const Bytes& bytes) {
  std::vector<float> values(bytes.size() / sizeof(float));
  std::memcpy(values.data(), bytes.data(), bytes.size());
  return values;
}

void expect_every_range(const ByteSource& source) {
  const Bytes all = whole(source);
  for (size_t begin = 0; begin <= all.size(); begin += 3) {
    for (size_t end = begin; end <= all.size(); end += 7) {
      Bytes piece(end - begin);
      ASSERT_TRUE(source.read_at(begin, piece).ok());
      ASSERT_TRUE(
          std::equal(piece.begin(), piece.end(), all.begin() + static_cast<ptrdiff_t>(begin)))
          << begin << ".." << end;
    }
  }
  Bytes behind(2);
  EXPECT_FALSE(source.read_at(all.size() - 1, behind).ok());
  EXPECT_FALSE(source.read_at(UINT64_MAX, behind).ok());
}

TEST(ExpertSources, UnitsAreInTurn) {
  const auto count = std::make_shared<ReadCount>();
  const std::vector<WeightView> parts = {counting(0, count), counting(100, count)};
  for (const int64_t unit : {int64_t{1}, kColumns}) {
    const auto source = interleaved_source(parts, unit * 4);
    count->bytes = 0;
    const std::vector<float> values = floats(whole(*source));
    EXPECT_EQ(count->bytes.load(), source->size());
    ASSERT_EQ(values.size(), static_cast<size_t>(2 * kElements));
    for (int64_t i = 0; i < kElements; ++i) {
      for (int64_t p = 0; p < 2; ++p) {
        const int64_t at = (i / unit * 2 + p) * unit + i % unit;
        ASSERT_EQ(values[static_cast<size_t>(at)], static_cast<float>(100 * p + i)) << i;
      }
    }
    expect_every_range(*source);
  }
}

TEST(ExpertSources, ColumnsBecomeRows) {
  const auto count = std::make_shared<ReadCount>();
  const std::vector<WeightView> parts = {counting(0, count), counting(100, count)};
  // All columns in a tile, two of them, one.
  for (const int64_t tile_bytes : {int64_t{1} << 20, 2 * kRows * 2 * 4, int64_t{1}}) {
    const auto source = transposed_source(parts, kStacks, tile_bytes);
    count->bytes = 0;
    const std::vector<float> values = floats(whole(*source));
    EXPECT_EQ(count->bytes.load(), source->size());
    ASSERT_EQ(values.size(), static_cast<size_t>(2 * kElements));
    size_t at = 0;
    for (int64_t s = 0; s < kStacks; ++s) {
      for (int64_t c = 0; c < kColumns; ++c) {
        for (int64_t r = 0; r < kRows; ++r) {
          for (int64_t p = 0; p < 2; ++p, ++at) {
            const int64_t element = (s * kRows + r) * kColumns + c;
            ASSERT_EQ(values[at], static_cast<float>(100 * p + element)) << at;
          }
        }
      }
    }
    expect_every_range(*source);
  }
}

// Two weights of a source, whose rows are those of both in turn.
std::vector<WeightView> in_turn(std::shared_ptr<const ByteSource> source) {
  WeightView even;
  even.name = "even";
  even.rows = kStacks * kRows;
  even.columns = kColumns;
  even.source = std::move(source);
  even.row_map = {.offset = 0, .stride = 2};
  WeightView odd = even;
  odd.row_map.offset = 1;
  return {even, odd};
}

TEST(ExpertSources, RowsThatAreInTurnAlreadyAreReadAsTheyLie) {
  const auto count = std::make_shared<ReadCount>();
  std::vector<float> values(static_cast<size_t>(2 * kElements));
  std::iota(values.begin(), values.end(), 0.0f);
  const auto bytes = std::as_bytes(std::span(values));
  const auto stored = std::make_shared<CountedSource>(
      memory_source(Bytes(bytes.begin(), bytes.end()), "file"), count);
  const auto rows = interleaved_source(in_turn(stored), kColumns * 4);
  EXPECT_EQ(floats(whole(*rows)), values);
  EXPECT_EQ(count->bytes.load(), rows->size());
  expect_every_range(*rows);
  for (const int64_t tile_bytes : {int64_t{1} << 20, 2 * kRows * 2 * 4, int64_t{1}}) {
    const auto source = transposed_source(in_turn(stored), kStacks, tile_bytes);
    count->bytes = 0;
    const std::vector<float> turned = floats(whole(*source));
    EXPECT_EQ(count->bytes.load(), source->size());
    ASSERT_EQ(turned.size(), values.size());
    size_t at = 0;
    for (int64_t s = 0; s < kStacks; ++s) {
      for (int64_t c = 0; c < kColumns; ++c) {
        for (int64_t row = 0; row < 2 * kRows; ++row, ++at)
          ASSERT_EQ(turned[at], static_cast<float>((s * 2 * kRows + row) * kColumns + c)) << at;
      }
    }
  }
}

// A directory as it is published, written again: what was stored, from one reading of it, though a tile
// has some of the columns only.
TEST(ExpertSources, WhatWasTurnedIsTurnedBack) {
  const auto count = std::make_shared<ReadCount>();
  Bytes stored(static_cast<size_t>(2 * kElements) * 4);
  for (size_t i = 0; i < stored.size(); ++i) stored[i] = static_cast<std::byte>(i * 37 % 251);
  const auto turned =
      strided_source(std::make_shared<CountedSource>(memory_source(stored, "file"), count),
                     {.element_bytes = 4,
                      .stacks = kStacks,
                      .rows = 2 * kRows,
                      .columns = kColumns,
                      .stack_stride = 2 * kRows * kColumns,
                      .row_stride = 1,
                      .column_stride = 2 * kRows});
  for (const int64_t tile_bytes : {int64_t{1} << 20, 2 * kRows * 2 * 4}) {
    const auto source = transposed_source(in_turn(turned), kStacks, tile_bytes);
    count->bytes = 0;
    EXPECT_TRUE(whole(*source) == stored);
    EXPECT_EQ(count->bytes.load(), stored.size());
  }
}

TEST(ExpertSources, AnErrorOfTheSourceIsPassedOn) {
  WeightView view = counting(0, std::make_shared<ReadCount>());
  view.source = memory_source(Bytes(20), "short");
  for (const auto& source : {interleaved_source({view}, 4), transposed_source({view}, kStacks)}) {
    Bytes bytes(source->size());
    EXPECT_FALSE(source->read_at(0, bytes).ok());
    EXPECT_FALSE(source->read_at(0, bytes).ok());  // again: nothing half-made is kept
  }
}

TEST(ExpertSources, BlocksComeApart) {
  constexpr size_t kBlocks = 6;
  Bytes blocks(kBlocks * 17);
  for (size_t i = 0; i < blocks.size(); ++i) blocks[i] = static_cast<std::byte>(i * 37 % 251);
  const auto source = memory_source(blocks, "blocks");
  const auto codes = mxfp4_codes(source);
  const auto scales = mxfp4_scales(source);
  ASSERT_EQ(codes->size(), kBlocks * 16);
  ASSERT_EQ(scales->size(), kBlocks);
  std::vector<uint8_t> expected(kBlocks * 32);
  std::vector<uint8_t> exponents(kBlocks);
  unpack_mxfp4(blocks.data(), static_cast<int64_t>(expected.size()), expected.data(),
               exponents.data());
  const Bytes bytes = whole(*codes);
  for (size_t i = 0; i < expected.size(); ++i) {
    const int both = static_cast<int>(bytes[i / 2]);
    ASSERT_EQ(i % 2 == 0 ? both & 15 : both >> 4, expected[i]) << i;
  }
  const Bytes read = whole(*scales);
  for (size_t i = 0; i < kBlocks; ++i) ASSERT_EQ(static_cast<uint8_t>(read[i]), exponents[i]);
  expect_every_range(*codes);
  expect_every_range(*scales);
}

}  // namespace
}  // namespace dunlin
