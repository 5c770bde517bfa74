// Weights joined from parts: every range has the bytes of the whole, and only those are read.
#include "checkpoint/joined_weight.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <memory>
#include <span>
#include <utility>

#include "base/counted_source.h"
#include "checkpoint/shard_contents.h"

namespace dunlin {
namespace {

using testing::HasSubstr;
using Bytes = std::vector<std::byte>;

constexpr int64_t kRows = 7;
constexpr int64_t kRowBytes = 10;
const std::shared_ptr<ReadCount> kCount = std::make_shared<ReadCount>();

std::byte value_at(int64_t row, int64_t column) {
  return static_cast<std::byte>(row * kRowBytes + column);
}

// What a part of those runs holds, after some other bytes; zeros are -1 here, so that none is taken.
JoinedPart part_of(IndexRuns rows, IndexRuns columns) {
  constexpr uint64_t kBefore = 5;
  Bytes bytes(kBefore + static_cast<size_t>(rows.extent * columns.extent), std::byte{0xff});
  for (const IndexRun& row : rows.runs) {
    for (int64_t i = 0; i < row.count; ++i) {
      for (const IndexRun& column : columns.runs) {
        for (int64_t j = 0; j < column.count; ++j) {
          bytes[kBefore + static_cast<size_t>((row.at + i) * columns.extent + column.at + j)] =
              value_at(row.begin + i, column.begin + j);
        }
      }
    }
  }
  auto source = std::make_shared<CountedSource>(memory_source(std::move(bytes), "part"), kCount);
  return {.source = std::move(source),
          .offset = kBefore,
          .rows = std::move(rows),
          .columns = std::move(columns)};
}

Result<std::shared_ptr<const ByteSource>> join(std::vector<JoinedPart> parts, int64_t cells = 100) {
  JoinBudget budget{.cells = cells};
  return join_parts({.name = "w", .file = "m", .rows = kRows, .row_bytes = kRowBytes},
                    std::move(parts), budget);
}

void expect_every_range(std::vector<JoinedPart> parts) {
  const auto joined = join(std::move(parts));
  ASSERT_TRUE(joined.ok()) << joined.error().message;
  const ByteSource& source = **joined;
  ASSERT_EQ(source.size(), static_cast<uint64_t>(kRows * kRowBytes));
  for (int64_t begin = 0; begin <= kRows * kRowBytes; ++begin) {
    for (int64_t end = begin; end <= kRows * kRowBytes; ++end) {
      Bytes read(static_cast<size_t>(end - begin));
      kCount->bytes = 0;
      ASSERT_TRUE(source.read_at(static_cast<uint64_t>(begin), read).ok());
      ASSERT_EQ(kCount->bytes.load(), read.size());
      for (int64_t i = begin; i < end; ++i)
        ASSERT_EQ(read[static_cast<size_t>(i - begin)], value_at(i / kRowBytes, i % kRowBytes))
            << begin << ".." << end << " at " << i;
    }
  }
}

IndexRuns runs(int64_t extent, std::vector<IndexRun> list) {
  return {.extent = extent, .runs = std::move(list)};
}

// Rows of all columns of a part, as a device of a mesh has them.
TEST(JoinedWeight, HoldsWhatLiesInOnePart) {
  const auto joined = join({part_of(runs(4, {{0, 0, 4}}), runs(6, {{0, 0, 6}})),
                            part_of(runs(4, {{0, 4, 3}}), runs(6, {{0, 0, 6}})),
                            part_of(IndexRuns::all(kRows), runs(4, {{0, 6, 4}}))});
  ASSERT_TRUE(joined.ok()) << joined.error().message;
  const auto held = [&](int64_t row, int64_t column, size_t columns, size_t rows) {
    return (*joined)
        ->hold_lines({.offset = static_cast<uint64_t>(row * kRowBytes + column),
                      .step = kRowBytes,
                      .bytes = columns,
                      .count = rows},
                     1)
        .value();
  };
  const auto second = held(5, 0, 6, 2);
  ASSERT_TRUE(second.has_value());
  ASSERT_EQ(second->bytes.size(), 12u);
  EXPECT_EQ(second->bytes[0], value_at(5, 0));
  EXPECT_EQ(second->bytes[11], value_at(6, 5));
  const auto third = held(4, 6, 4, 3);
  ASSERT_TRUE(third.has_value());
  EXPECT_EQ(third->bytes[11], value_at(6, 9));
  EXPECT_FALSE(held(3, 0, 6, 2));          // of two parts
  EXPECT_FALSE(held(0, 0, 5, 2));          // some columns
  EXPECT_FALSE(held(0, 1, 6, 1));          // of two parts
  EXPECT_FALSE(held(0, 0, kRowBytes, 2));  // of two parts
  EXPECT_FALSE(held(6, 0, 6, 2));          // beyond the end
}

TEST(JoinedWeight, ReadsEveryRangeOfRows) {
  expect_every_range({part_of(runs(4, {{0, 0, 4}}), IndexRuns::all(kRowBytes)),
                      part_of(runs(4, {{0, 4, 3}}), IndexRuns::all(kRowBytes))});
}

TEST(JoinedWeight, ReadsEveryRangeOfColumns) {
  expect_every_range({part_of(IndexRuns::all(kRows), runs(4, {{0, 0, 4}})),
                      part_of(IndexRuns::all(kRows), runs(4, {{0, 4, 4}})),
                      part_of(IndexRuns::all(kRows), runs(4, {{0, 8, 2}}))});
}

// Padded groups of heads: two runs in each part, on both sides.
TEST(JoinedWeight, ReadsEveryRangeOfScatteredParts) {
  const IndexRuns first = runs(6, {{0, 0, 2}, {3, 4, 1}});
  const IndexRuns second = runs(6, {{0, 2, 2}, {3, 5, 2}});
  const IndexRuns left = runs(8, {{0, 0, 3}, {4, 5, 3}});
  const IndexRuns right = runs(8, {{0, 3, 2}, {4, 8, 2}});
  expect_every_range(
      {part_of(first, left), part_of(first, right), part_of(second, left), part_of(second, right)});
}

TEST(JoinedWeight, ReadsTheFirstOfCopies) {
  const auto copy = [] { return part_of(IndexRuns::all(kRows), IndexRuns::all(kRowBytes)); };
  std::vector<JoinedPart> parts = {copy(), copy()};
  parts[1].source = memory_source({}, "not read");
  expect_every_range(std::move(parts));
}

// Each part begins with the same bytes, as scales of a row do; those of the second one are read along
// with its rows, for they are few.
TEST(JoinedWeight, PartsThatShareALittleAreReadInWholeRows) {
  constexpr int64_t kWidth = 80;
  Bytes whole(static_cast<size_t>(kRows * kWidth));
  for (size_t i = 0; i < whole.size(); ++i) whole[i] = static_cast<std::byte>(i % 251);
  std::vector<JoinedPart> parts;
  const auto count = std::make_shared<ReadCount>();
  for (const int64_t begin : {2, 41}) {
    const int64_t elements = begin == 2 ? 39 : kWidth - 41;
    const IndexRuns columns = runs(2 + elements, {{0, 0, 2}, {2, begin, elements}});
    Bytes bytes;
    for (int64_t row = 0; row < kRows; ++row) {
      for (const IndexRun& run : columns.runs) {
        const auto from = whole.begin() + row * kWidth + run.begin;
        bytes.insert(bytes.end(), from, from + run.count);
      }
    }
    parts.push_back(
        {.source = std::make_shared<CountedSource>(memory_source(std::move(bytes), "part"), count),
         .offset = 0,
         .rows = IndexRuns::all(kRows),
         .columns = columns});
  }
  JoinBudget budget;
  const auto joined = join_parts({.name = "w", .file = "m", .rows = kRows, .row_bytes = kWidth},
                                 std::move(parts), budget);
  ASSERT_TRUE(joined.ok()) << joined.error().message;
  Bytes read(whole.size());
  ASSERT_TRUE((*joined)->read_at(0, read).ok());
  EXPECT_TRUE(read == whole);
  EXPECT_EQ(count->reads.load(), 2u);
  EXPECT_EQ(count->bytes.load(), static_cast<uint64_t>(kRows * (kWidth + 2)));
  // One row at a time without them.
  count->bytes = 0;
  for (int64_t row = 0; row < kRows; ++row) {
    const auto some = std::span(read).subspan(static_cast<size_t>(row * kWidth), kWidth);
    ASSERT_TRUE((*joined)->read_at(static_cast<uint64_t>(row * kWidth), some).ok());
  }
  EXPECT_TRUE(read == whole);
  EXPECT_EQ(count->bytes.load(), whole.size());
}

TEST(JoinedWeight, WhatIsMissingOrOutsideIsAnError) {
  const auto message = [](std::vector<JoinedPart> parts, int64_t cells = 100) {
    const auto joined = join(std::move(parts), cells);
    EXPECT_FALSE(joined.ok());
    EXPECT_EQ(joined.error().kind, ErrorKind::model);
    return joined.ok() ? std::string() : joined.error().message;
  };
  const IndexRuns all = IndexRuns::all(kRowBytes);
  const auto rows = [&](IndexRun run) { return part_of(runs(8, {run}), all); };
  EXPECT_EQ(message({}), "m: w lacks a part: no file of weights has it");
  EXPECT_THAT(message({rows({0, 0, 6})}), HasSubstr("lacks a part"));
  EXPECT_THAT(message({rows({0, 0, 3}), rows({0, 4, 3})}), HasSubstr("lacks a part"));
  EXPECT_THAT(message({rows({0, 0, 8})}), HasSubstr("lies outside"));
  EXPECT_THAT(message({part_of(IndexRuns::all(kRows), runs(20, {{0, 5, 6}}))}),
              HasSubstr("lies outside"));
  EXPECT_THAT(message({rows({0, 0, 4}), rows({0, 4, 3})}, 1), HasSubstr("too many pieces"));
}

TEST(JoinedWeight, BytesBeyondTheEndAreAnError) {
  const auto joined = join({part_of(IndexRuns::all(kRows), IndexRuns::all(kRowBytes))});
  Bytes bytes(2);
  EXPECT_FALSE((*joined)->read_at(kRows * kRowBytes - 1, bytes).ok());
  EXPECT_FALSE((*joined)->read_at(UINT64_MAX, bytes).ok());
}

ShardContents sample() {
  return {.place = "kv=1",
          .runs = {IndexRuns::all(7), {.extent = 8, .runs = {{0, 2, 3}, {4, 6, 2}}}},
          .parts = {{.weight = "a.weight", .rows = 0, .columns = 1},
                    {.weight = "b.weight", .rows = 1, .columns = 1}}};
}

TEST(ShardContents, ComeBackAsTheyWere) {
  const ShardContents contents = sample();
  const auto parsed = parse_contents(contents_text(contents), "f");
  ASSERT_TRUE(parsed.ok()) << parsed.error().message;
  EXPECT_EQ(parsed->place, contents.place);
  EXPECT_EQ(parsed->runs, contents.runs);
  ASSERT_EQ(parsed->parts.size(), contents.parts.size());
  for (size_t i = 0; i < contents.parts.size(); ++i) {
    EXPECT_EQ(parsed->parts[i].weight, contents.parts[i].weight);
    EXPECT_EQ(parsed->parts[i].rows, contents.parts[i].rows);
    EXPECT_EQ(parsed->parts[i].columns, contents.parts[i].columns);
  }
}

TEST(ShardContents, LiesAreErrors) {
  const std::string good = contents_text(sample());
  const std::pair<const char*, const char*> lies[] = {
      {"\"kv=1\"", "1"},
      {"\"kv=1\"", "\"kv\\n\""},
      {"\"runs\":[", "\"no\":["},
      {"[7,0,0,7]", "7"},
      {"[7,0,0,7]", "[]"},
      {"[7,0,0,7]", "[0]"},
      {"[7,0,0,7]", "[7,0,0]"},
      {"[7,0,0,7]", "[7,0,0,0]"},
      {"[7,0,0,7]", "[7,0,0,8]"},
      {"[7,0,0,7]", "[7,0,-1,7]"},
      {"[7,0,0,7]", "[7,0,9223372036854775807,7]"},
      {"[7,0,0,7]", "[7,0,18446744073709551615,7]"},
      {"[7,0,0,7]", "[7,0,0.5,7]"},
      {"4,6,2", "2,6,2"},
      {"4,6,2", "4,4,2"},
      {"[\"a.weight\",0,1]", "[\"a.weight\",2,1]"},
      {"[\"a.weight\",0,1]", "[\"a.weight\",0]"},
      {"[\"a.weight\",0,1]", "[0,0,1]"},
      {"[\"a.weight\",0,1]", "[\"a\\u0000\",0,1]"},
      {"\"weights\":[", "\"weights\":{\"a\":["},
  };
  for (const auto& [from, to] : lies) {
    std::string bad = good;
    ASSERT_NE(bad.find(from), std::string::npos) << from << " in " << good;
    bad.replace(bad.find(from), std::string_view(from).size(), to);
    const auto parsed = parse_contents(bad, "f");
    ASSERT_FALSE(parsed.ok()) << bad;
    EXPECT_EQ(parsed.error().kind, ErrorKind::model);
    EXPECT_EQ(parsed.error().message.substr(0, 1), "f");
  }
}

}  // namespace
}  // namespace dunlin
