// Attention over pages on every instruction set against the plain loops, bit for bit; and that no
// unwritten or invisible value is ever read into a sum.
#include "attention_case.h"
#include "base/thread_pool.h"

namespace dunlin {
namespace {

TEST_P(AttentionTest, WholeAndSplitFormsEqualThePlainLoops) {
  const FlushToZero flush_to_zero;
  const AttentionCase& c = *case_;
  const std::vector<float> wanted = expected();
  const int64_t rows = static_cast<int64_t>(c.positions.size());
  const int64_t width = c.group * c.head_dim;
  for (const Isa isa : available_isas()) {
    SCOPED_TRACE(isa_name(isa));
    const Kernels& table = kernels(isa);
    write_pages(table);
    const AlignedMemory workspace(attention_workspace_bytes(c.head_dim));
    const AttentionArgs args = arguments(workspace.get());

    std::vector<float> y(static_cast<size_t>(rows * width));
    table.attention[static_cast<int>(c.type)].run(args, y.data(), width);
    ASSERT_TRUE(same_bits(y, wanted)) << "whole";

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
    ASSERT_TRUE(same_bits(merged, wanted)) << "split and merged";
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
    const AlignedMemory workspace(attention_workspace_bytes(c.head_dim));
    const AttentionArgs args = arguments(workspace.get());
    std::vector<float> all(static_cast<size_t>(rows * width));
    table.attention[static_cast<int>(c.type)].run(args, all.data(), width);
    for (int64_t row = 0; row < rows; row += 1 + rows / 4) {
      AttentionArgs one = args;
      one.q += row * q_stride_;
      one.rows = 1;
      one.positions += row;
      std::vector<float> y(static_cast<size_t>(width));
      table.attention[static_cast<int>(c.type)].run(one, y.data(), width);
      ASSERT_TRUE(same_bits(y.data(), all.data() + row * width, width))
          << isa_name(isa) << " row " << row;
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Cases, AttentionTest,
                         testing::Range(0, static_cast<int>(attention_cases().size())),
                         attention_case_name);

}  // namespace
}  // namespace dunlin
