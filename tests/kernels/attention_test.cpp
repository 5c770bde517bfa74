// Attention over pages on every instruction set against the plain loops, bit for bit; and that no
// unwritten or invisible value is ever read into a sum.
#include "attention_case.h"
#include "base/thread_pool.h"

namespace dunlin {
namespace {

TEST_P(AttentionTest, WholeAndSplitFormsEqualThePlainLoops) {
  const FlushToZero flush_to_zero;
  const AttentionCase& c = *case_;
  const std::vector<float> wanted = comparable(expected());
  const int64_t rows = static_cast<int64_t>(c.positions.size());
  const int64_t width = c.group * c.head_dim;
  for (const Isa isa : available_isas()) {
    SCOPED_TRACE(isa_name(isa));
    const Kernels& table = kernels(isa);
    write_pages(table);
    const AlignedMemory workspace(attention_workspace_bytes(c.type, c.head_dim));
    const AttentionArgs args = arguments(workspace.get());

    std::vector<float> y(static_cast<size_t>(rows * width));
    table.attention[static_cast<int>(c.type)].run(args, y.data(), width);
    ASSERT_TRUE(same_bits(comparable(y), wanted)) << "whole";

    const SplitRange splits = attention_splits(args);
    const int64_t floats = attention_partial_floats(c.head_dim);
    const int64_t count = splits.end - splits.first;
    const int64_t stride = count * floats;
    const AlignedMemory partials(rows * c.group * stride * 4);
    for (int64_t split = splits.end - 1; split >= splits.first; --split) {  // any order
      table.attention_split[static_cast<int>(c.type)].run(
          args, split, partials.floats() + (split - splits.first) * floats, stride);
    }
    std::vector<float> merged(static_cast<size_t>(rows * width));
    for (int64_t query = 0; query < rows * c.group; ++query) {
      table.attention_merge.run(partials.floats() + query * stride, count, floats, c.head_dim,
                                c.sinks ? &sinks_[static_cast<size_t>(query % c.group)] : nullptr,
                                merged.data() + query * c.head_dim);
    }
    ASSERT_TRUE(same_bits(comparable(merged), wanted)) << "split and merged";
  }
}

TEST_P(AttentionTest, ARowDoesNotDependOnItsNeighbours) {
  const FlushToZero flush_to_zero;
  const AttentionCase& c = *case_;
  const int64_t rows = static_cast<int64_t>(c.positions.size());
  const int64_t width = c.group * c.head_dim;
  for (const Isa isa : available_isas()) {
    const Kernels& table = kernels(isa);
    write_pages(table);
    const AlignedMemory workspace(attention_workspace_bytes(c.type, c.head_dim));
    const AttentionArgs args = arguments(workspace.get());
    std::vector<float> all(static_cast<size_t>(rows * width));
    table.attention[static_cast<int>(c.type)].run(args, all.data(), width);
    all = comparable(std::move(all));
    for (int64_t row = 0; row < rows; row += 1 + rows / 4) {
      AttentionArgs one = args;
      one.q += row * q_stride_;
      one.rows = 1;
      one.positions += row;
      std::vector<float> y(static_cast<size_t>(width));
      table.attention[static_cast<int>(c.type)].run(one, y.data(), width);
      ASSERT_TRUE(same_bits(comparable(y).data(), all.data() + row * width, width))
          << isa_name(isa) << " row " << row;
    }
  }
}

// Bytes of a page in int8, at places that this test works out for itself.
TEST(KvWrite, CodesAndScalesOfASlot) {
  const FlushToZero flush_to_zero;
  constexpr int64_t kHeadDim = 40;  // keys are padded to 64 dimensions, values to 48
  constexpr int64_t kValuesAt = 16 * 64 + 64;
  constexpr int64_t kBytes = kValuesAt + 16 * 48 + 64;
  ASSERT_EQ(kv_page_bytes(KvType::int8, kHeadDim), kBytes);
  std::vector<float> k(kHeadDim, 0.0f);
  k[0] = -127.0f;  // a scale of 1: halves go to the even code
  k[1] = 0.5f;
  k[2] = 1.5f;
  k[3] = -2.5f;
  k[39] = 126.5f;
  std::vector<float> v(kHeadDim, 0.0f);
  v[17] = 63.5f;  // a scale of 0.5
  v[39] = -3.0f;
  for (const int64_t slot : {0, 5, 15}) {
    SCOPED_TRACE(slot);
    const AlignedMemory page(kBytes);  // of bytes 0xff
    kernels(Isa::scalar)
        .kv_write[static_cast<int>(KvType::int8)]
        .run(k.data(), v.data(), kHeadDim, slot, page.get());
    const auto code = [&page](int64_t at) { return int{static_cast<int8_t>(page.get()[at])}; };
    const auto scale = [&page](int64_t at) {
      float value;
      std::memcpy(&value, page.get() + at, 4);
      return value;
    };
    int64_t written = 0;
    for (int64_t d = 0; d < 64; ++d) {
      const int wanted = d == 0 ? -127 : d == 2 ? 2 : d == 3 ? -2 : d == 39 ? 126 : 0;
      EXPECT_EQ(code(16 * d + slot), wanted) << d;
      ++written;
    }
    EXPECT_EQ(scale(16 * 64 + 4 * slot), 1.0f);
    for (int64_t d = 0; d < 48; ++d) {
      const int wanted = d == 17 ? 127 : d == 39 ? -6 : 0;
      EXPECT_EQ(code(kValuesAt + d / 16 * 256 + 16 * slot + d % 16), wanted) << d;
      ++written;
    }
    EXPECT_EQ(scale(kBytes - 64 + 4 * slot), 0.5f);
    // Nothing else: no code is -1, and each scale has bytes that are not 0xff.
    int64_t changed = 0;
    for (int64_t at = 0; at < kBytes; ++at) changed += page.get()[at] != std::byte{0xff} ? 1 : 0;
    EXPECT_EQ(changed, written + 2 * 4);
  }
}

TEST(KvWrite, TinyHeadsAreZeroAndThoseWithoutNumbersNaN) {
  const FlushToZero flush_to_zero;
  const AlignedMemory page(kv_page_bytes(KvType::int8, 32));
  const auto scale_of = [&page](float x) {
    std::vector<float> head(32, 0.0f);
    head[7] = x;
    kernels(Isa::scalar)
        .kv_write[static_cast<int>(KvType::int8)]
        .run(head.data(), head.data(), 32, 3, page.get());
    float scale;
    std::memcpy(&scale, page.get() + 16 * 32 + 4 * 3, 4);
    return std::pair(scale, static_cast<int>(static_cast<int8_t>(page.get()[16 * 7 + 3])));
  };
  EXPECT_EQ(scale_of(0x1p-101f), std::pair(0.0f, 0));
  EXPECT_EQ(scale_of(-0x1p-100f), std::pair(0x1p-100f / 127.0f, -127));
  const float largest = std::numeric_limits<float>::max();
  EXPECT_EQ(scale_of(largest), std::pair(largest / 127.0f, 127));
  for (const float x :
       {std::numeric_limits<float>::infinity(), -std::numeric_limits<float>::infinity(),
        std::numeric_limits<float>::quiet_NaN()}) {
    EXPECT_TRUE(std::isnan(scale_of(x).first));
    EXPECT_EQ(scale_of(x).second, 0);
  }
}

INSTANTIATE_TEST_SUITE_P(Cases, AttentionTest,
                         testing::Range(0, static_cast<int>(attention_cases().size())),
                         attention_case_name);

}  // namespace
}  // namespace dunlin
