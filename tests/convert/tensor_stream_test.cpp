// TensorStream: the bytes are those of encoding the whole tensor at once, and memory stays small.
#include "convert/tensor_stream.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/resource.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <memory>
#include <random>

#include "base/counted_source.h"
#include "checkpoint/strided_source.h"

namespace dunlin {
namespace {

using testing::HasSubstr;
using Bytes = std::vector<std::byte>;

std::vector<float> random_values(int64_t count) {
  std::mt19937 random(7);
  std::normal_distribution<float> normal;
  std::vector<float> values(static_cast<size_t>(count));
  for (float& value : values) value = normal(random);
  return values;
}

Bytes encoded(Format format, const std::vector<float>& values,
              const std::vector<float>& importance = {}) {
  const auto count = static_cast<int64_t>(values.size());
  Bytes bytes(static_cast<size_t>(row_bytes(traits(format), count)));
  traits(format).encode(values.data(), count, importance.empty() ? nullptr : importance.data(),
                        bytes.data());
  return bytes;
}

std::vector<float> decoded(Format format, const Bytes& bytes, int64_t count) {
  std::vector<float> values(static_cast<size_t>(count));
  traits(format).decode(bytes.data(), count, values.data());
  return values;
}

TensorPlan plan_of(Bytes stored, Format from, Format to, int64_t rows, int64_t columns) {
  WeightView view;
  view.name = "the_tensor";
  view.format = from;
  view.rows = rows;
  view.columns = columns;
  view.source = memory_source(std::move(stored), "source");
  return {.name = "t", .shape = {rows, columns}, .view = view, .format = to};
}

Result<Bytes> written(const TensorPlan& plan, int threads) {
  const auto pool = ThreadPool::create(threads);
  TensorStream stream(**pool);
  Bytes bytes;
  DUNLIN_RETURN_IF_ERROR(stream.write(plan, [&bytes](std::span<const std::byte> piece) {
    bytes.insert(bytes.end(), piece.begin(), piece.end());
    return Result<void>();
  }));
  return bytes;
}

// A matrix that is stored the other way round: a read brings a column of as many rows as there are.
TEST(TensorStream, ColumnsThatLieApartAreReadForManyRows) {
  constexpr int64_t kRows = 256;
  constexpr int64_t kColumns = 256;
  const auto values = random_values(kRows * kColumns);
  std::vector<float> turned(values.size());
  for (int64_t row = 0; row < kRows; ++row) {
    for (int64_t column = 0; column < kColumns; ++column) {
      turned[static_cast<size_t>(column * kRows + row)] =
          values[static_cast<size_t>(row * kColumns + column)];
    }
  }
  const auto count = std::make_shared<ReadCount>();
  const auto stored =
      std::make_shared<CountedSource>(memory_source(encoded(Format::f32, turned), "turned"), count);
  TensorPlan plan = plan_of({}, Format::f32, Format::q8_0, kRows, kColumns);
  plan.view.source = strided_source(stored, {.element_bytes = 4,
                                             .rows = kRows,
                                             .columns = kColumns,
                                             .row_stride = 1,
                                             .column_stride = kRows});
  plan.view.columns_apart = true;
  const auto bytes = written(plan, 2);
  ASSERT_TRUE(bytes.ok()) << bytes.error().message;
  EXPECT_TRUE(*bytes == encoded(Format::q8_0, values));
  EXPECT_EQ(count->reads.load(), static_cast<uint64_t>(kColumns));
}

// Rows in turn of one source, gate and up for one: what each is alone, from one reading.
TEST(TensorStream, BothOfTwoAreThoseOfEach) {
  constexpr int64_t kRows = 131;
  constexpr int64_t kColumns = 512;
  const auto values = random_values(2 * kRows * kColumns);
  const auto count = std::make_shared<ReadCount>();
  const Bytes stored = encoded(Format::bf16, values);
  const auto source =
      std::make_shared<CountedSource>(memory_source(Bytes(stored), "source"), count);
  const auto importance = [](float first) {
    std::vector<float> columns(kColumns, 1.0f);
    columns[0] = first;
    return columns;
  };
  for (const auto& [of_even, of_odd] :
       {std::pair(Format::q8_0, Format::q4_1), std::pair(Format::bf16, Format::bf16)}) {
    TensorPlan even = plan_of({}, Format::bf16, of_even, kRows, kColumns);
    even.view.source = source;
    even.view.row_map = {.offset = 0, .stride = 2};
    even.importance = importance(10.0f);
    TensorPlan odd = even;
    odd.format = of_odd;
    odd.view.row_map.offset = 1;
    odd.importance = importance(0.0f);
    const auto both = source_of_both(even, odd);
    ASSERT_TRUE(both.has_value());
    EXPECT_FALSE(source_of_both(odd, even).has_value());
    const Bytes expected[2] = {*written(even, 1), *written(odd, 1)};
    for (const int threads : {1, 3}) {
      const auto pool = ThreadPool::create(threads);
      TensorStream stream(**pool);
      Bytes bytes[2];
      const uint64_t before = count->bytes;
      const auto done =
          stream.write_both(even, odd, *both, [&](size_t number, std::span<const std::byte> piece) {
            // The one of the odd rows is ahead.
            if (number == 0) {
              EXPECT_LT(bytes[0].size() * expected[1].size(), bytes[1].size() * expected[0].size());
            }
            bytes[number].insert(bytes[number].end(), piece.begin(), piece.end());
            return Result<void>();
          });
      ASSERT_TRUE(done.ok()) << done.error().message;
      EXPECT_TRUE(bytes[0] == expected[0]) << threads;
      EXPECT_TRUE(bytes[1] == expected[1]) << threads;
      EXPECT_EQ(count->bytes - before, stored.size());
    }
  }
}

TEST(TensorStream, ErrorsOfBothNameTheRow) {
  auto values = random_values(2 * 3 * 32);
  values[5 * 32 + 1] = std::numeric_limits<float>::quiet_NaN();  // row 2 of the odd ones
  TensorPlan even = plan_of(encoded(Format::f32, values), Format::f32, Format::q8_0, 3, 32);
  even.view.row_map = {.offset = 0, .stride = 2};
  TensorPlan odd = even;
  odd.view.row_map.offset = 1;
  odd.view.name = "the_other";
  const auto pool = ThreadPool::create(2);
  TensorStream stream(**pool);
  const auto done =
      stream.write_both(even, odd, *source_of_both(even, odd),
                        [](size_t, std::span<const std::byte>) -> Result<void> { return {}; });
  ASSERT_FALSE(done.ok());
  EXPECT_THAT(done.error().message, HasSubstr("source: the tensor the_other holds nan in row 2"));
}

TEST(TensorStream, EveryFormatIsThatOfTheWholeTensor) {
  constexpr int64_t kRows = 67;
  constexpr int64_t kColumns = 512;
  const auto values = random_values(kRows * kColumns);
  for (const Format from : {Format::f32, Format::bf16, Format::q4_1}) {
    const Bytes stored = encoded(from, values);
    const auto original = decoded(from, stored, kRows * kColumns);
    for (const FormatTraits& to : all_formats()) {
      const Bytes expected = to.format == from ? stored : encoded(to.format, original);
      const TensorPlan plan = plan_of(stored, from, to.format, kRows, kColumns);
      EXPECT_EQ(plan.bytes(), expected.size());
      for (const int threads : {1, 3}) {
        const auto bytes = written(plan, threads);
        ASSERT_TRUE(bytes.ok()) << bytes.error().message;
        EXPECT_TRUE(*bytes == expected) << traits(from).name << " to " << to.name;
      }
    }
  }
}

// Rows longer than a task, fewer rows than threads, more than one piece, and a vector.
TEST(TensorStream, PiecesOfAnyShapeJoin) {
  const std::pair<int64_t, int64_t> shapes[] = {{2, 40000 * 32}, {5000, 288}, {1, 96}, {3, 32}};
  for (const auto& [rows, columns] : shapes) {
    const auto values = random_values(rows * columns);
    const auto bytes =
        written(plan_of(encoded(Format::f32, values), Format::f32, Format::q8_0, rows, columns), 2);
    ASSERT_TRUE(bytes.ok()) << bytes.error().message;
    EXPECT_TRUE(*bytes == encoded(Format::q8_0, values)) << rows << " x " << columns;
  }
}

TEST(TensorStream, ImportanceCountsByColumn) {
  constexpr int64_t kRows = 40;
  constexpr int64_t kColumns = 1024;
  const auto values = random_values(kRows * kColumns);
  TensorPlan plan =
      plan_of(encoded(Format::f32, values), Format::f32, Format::q4_k, kRows, kColumns);
  for (int64_t i = 0; i < kColumns; ++i)
    plan.importance.push_back(1.0f + static_cast<float>(i * i % 97));
  std::vector<float> repeated;
  for (int64_t row = 0; row < kRows; ++row)
    repeated.insert(repeated.end(), plan.importance.begin(), plan.importance.end());
  const auto bytes = written(plan, 2);
  ASSERT_TRUE(bytes.ok());
  EXPECT_TRUE(*bytes == encoded(Format::q4_k, values, repeated));
  EXPECT_FALSE(*bytes == encoded(Format::q4_k, values));
}

// Pieces and tasks end within experts.
TEST(TensorStream, ImportanceOfExpertsIsTheirOwn) {
  constexpr int64_t kExperts = 3;
  constexpr int64_t kRows = 100;
  constexpr int64_t kColumns = 256;
  const auto values = random_values(kExperts * kRows * kColumns);
  TensorPlan plan =
      plan_of(encoded(Format::f32, values), Format::f32, Format::q4_k, kExperts * kRows, kColumns);
  for (int64_t i = 0; i < kExperts * kColumns; ++i)
    plan.importance.push_back(1.0f + static_cast<float>(i * i % 97));
  std::vector<float> repeated;
  for (int64_t row = 0; row < kExperts * kRows; ++row) {
    const auto begin = plan.importance.begin() + row / kRows * kColumns;
    repeated.insert(repeated.end(), begin, begin + kColumns);
  }
  const auto bytes = written(plan, 2);
  ASSERT_TRUE(bytes.ok());
  EXPECT_TRUE(*bytes == encoded(Format::q4_k, values, repeated));
}

// Interleaving undoes what reading such a file does, for matrices and for vectors.
TEST(TensorStream, InterleavedRowsAreTheInverse) {
  constexpr int64_t kHeadDim = 8;
  for (const auto& [rows, columns] : {std::pair<int64_t, int64_t>{24, 32}, {1, 24}}) {
    const auto values = random_values(rows * columns);
    TensorPlan there =
        plan_of(encoded(Format::f32, values), Format::f32, Format::f32, rows, columns);
    there.interleaved_head_dim = kHeadDim;
    const auto stored = written(there, 2);
    ASSERT_TRUE(stored.ok()) << stored.error().message;
    TensorPlan back = plan_of(*stored, Format::f32, Format::f32, rows, columns);
    back.view.row_map.rope_head_dim = kHeadDim;
    const auto again = written(back, 1);
    EXPECT_TRUE(*again == encoded(Format::f32, values));
    // Row 1 of a head is row D/2 of the other order.
    const int64_t width = rows == 1 ? 1 : columns;
    EXPECT_EQ(decoded(Format::f32, *stored, rows * columns)[static_cast<size_t>(width)],
              values[static_cast<size_t>(width * kHeadDim / 2)]);
  }
}

TEST(TensorStream, ValuesThatTheFormatCannotHoldAreErrors) {
  constexpr float kNan = std::numeric_limits<float>::quiet_NaN();
  constexpr float kInfinity = std::numeric_limits<float>::infinity();
  constexpr int64_t kRows = 600;  // more than one task
  constexpr int64_t kColumns = 256;
  const struct {
    float value;
    Format format;
    bool fits;
  } cases[] = {
      {kNan, Format::q8_0, false},       {kInfinity, Format::q4_k, false},
      {-kInfinity, Format::f16, false},  {70000.0f, Format::f16, false},
      {-70000.0f, Format::q4_1, false},  {65504.0f, Format::f16, true},
      {65504.0f, Format::q6_k, true},    {70000.0f, Format::bf16, true},
      {70000.0f, Format::mxfp4, true},   {kNan, Format::mxfp4, false},
      {kInfinity, Format::mxfp4, false}, {kNan, Format::bf16, true},
      {kNan, Format::f32, true},
  };
  for (const auto& [value, format, fits] : cases) {
    auto values = random_values(kRows * kColumns);
    values[500 * kColumns + 3] = value;
    const auto bytes =
        written(plan_of(encoded(Format::f32, values), Format::f32, format, kRows, kColumns), 2);
    EXPECT_EQ(bytes.ok(), fits) << value << " as " << traits(format).name;
    if (bytes.ok()) continue;
    EXPECT_EQ(bytes.error().kind, ErrorKind::model);
    EXPECT_THAT(bytes.error().message, HasSubstr("source: the tensor the_tensor holds "));
    EXPECT_THAT(bytes.error().message, HasSubstr("in row 500"));
    EXPECT_THAT(bytes.error().message, HasSubstr(traits(format).name));
  }
}

TEST(TensorStream, ErrorsOfBothSidesEndIt) {
  const Bytes few(100 * 32 * 4 - 1);
  const auto read = written(plan_of(few, Format::f32, Format::q8_0, 100, 32), 2);
  ASSERT_FALSE(read.ok());
  EXPECT_THAT(read.error().message, HasSubstr("source"));
  const auto pool = ThreadPool::create(1);
  int pieces = 0;
  const Bytes zeros(3 * (1 << 20) * 2);
  const auto refused =
      TensorStream(**pool).write(plan_of(zeros, Format::f16, Format::f32, 3, 1 << 20),
                                 [&pieces](std::span<const std::byte>) -> Result<void> {
                                   ++pieces;
                                   return runtime_error("enough");
                                 });
  EXPECT_EQ(refused.error().message, "enough");
  EXPECT_EQ(pieces, 1);
}

// Zeros without memory behind them.
class Zeros final : public ByteSource {
 public:
  explicit Zeros(uint64_t size) : size_(size) {}
  Result<void> read_at(uint64_t, std::span<std::byte> into) const override {
    std::ranges::fill(into, std::byte{});
    return {};
  }
  uint64_t size() const override { return size_; }
  const std::string& name() const override { return name_; }

 private:
  uint64_t size_;
  std::string name_ = "zeros";
};

TEST(TensorStream, MemoryDoesNotGrowWithTheTensor) {
  constexpr int64_t kRows = 1 << 16;
  constexpr int64_t kColumns = 1 << 10;  // 128 MB as F16
  TensorPlan plan = plan_of({}, Format::f16, Format::f32, kRows, kColumns);
  plan.view.source = std::make_shared<Zeros>(2 * kRows * kColumns);
  const auto peak = [] {
    rusage usage = {};
    ::getrusage(RUSAGE_SELF, &usage);
    return usage.ru_maxrss;
  };
  const auto pool = ThreadPool::create(2);
  const int64_t before = peak();
  uint64_t total = 0;
  const auto done = TensorStream(**pool).write(plan, [&](std::span<const std::byte> bytes) {
    total += bytes.size();
    return Result<void>();
  });
  ASSERT_TRUE(done.ok());
  EXPECT_EQ(total, plan.bytes());
  EXPECT_LT(peak() - before, 16 << 10);
}

}  // namespace
}  // namespace dunlin
