// run() allocates nothing: operator new of this binary counts.
#include <gtest/gtest.h>

#include <tuple>
#include <utility>
#include <vector>

#include "backend/cpu/arena.h"
#include "backend/cpu/cpu_backend.h"
#include "backend/cpu/weight_layout.h"
#include "backend/profile.h"
#include "base/byte_source.h"
#include "base/thread_pool.h"
#include "case_runner.h"
#include "program/ops.h"
#include "program/recorder.h"
#include "support/counted_allocations.h"
#include "tiny_mapped_weights.h"
#include "tiny_model.h"

namespace dunlin {
namespace {

int64_t allocations_of_run(TinySession& session, const StepPlan& plan, StepOutput& output) {
  const int64_t before = allocations.load();
  session.executable().run(plan, session.state(), output);
  return allocations.load() - before;
}

class Run : public testing::TestWithParam<std::string> {};

INSTANTIATE_TEST_SUITE_P(All, Run, testing::Values("llama", "gpt_oss"),
                         [](const auto& info) { return info.param; });

TEST_P(Run, AllocatesNothing) {
  const auto backend = make_cpu_backend();
  const TinyModel model =
      tiny_model(GetParam(), "mixed", {.taps = {"hidden.1"}, .logits_view_k = 9});
  for (const auto& [threads, disabled, kv_type] :
       {std::tuple(1, "", KvType::bf16), std::tuple(2, "", KvType::bf16),
        std::tuple(2, "", KvType::int8), std::tuple(1, "gqa", KvType::bf16),
        std::tuple(2, "gqa", KvType::bf16), std::tuple(2, "gqa", KvType::int8)}) {
    CompileOptions options = tiny_options(Precision::automatic, threads);
    options.disabled = {disabled};
    options.kv_type = kv_type;
    TinySession session(*backend, model, options);
    const StepPlan prompts =
        session.plan({{0, 1, RowClass::generated}, {1, 300, RowClass::prompt}, {2, 60}});
    const StepPlan long_prompt = session.plan({{1, 400, RowClass::prompt}});
    const StepPlan decode = session.plan({{1, 1, RowClass::generated}});
    const StepPlan batch =
        session.plan({{0, 1, RowClass::generated}, {1, 3, RowClass::generated}, {2, 40}});
    StepOutput output;
    session.executable().run(prompts, session.state(), output);  // grows the vectors of `output`
    session.executable().run(long_prompt, session.state(), output);
    ASSERT_GT(allocations.load(), 0);
    EXPECT_EQ(allocations_of_run(session, decode, output), 0);
    EXPECT_EQ(allocations_of_run(session, batch, output), 0);
    EXPECT_EQ(allocations_of_run(session, prompts, output), 0);
    Profile profile(1 << 14);
    ASSERT_TRUE(session.executable().record(&profile).ok());
    EXPECT_EQ(allocations_of_run(session, batch, output), 0);
    EXPECT_EQ(allocations_of_run(session, prompts, output), 0);
    EXPECT_EQ(profile.runs().size(), 2u);
  }
}

// Neither the steps nor the thread that reads for them.
TEST_P(Run, AllocatesNothingWhileWeightsAreRead) {
  const auto backend = make_cpu_backend();
  const TinyModel model = tiny_model(GetParam(), "mixed");
  const auto weights = TinyMappedWeights::create(*backend, model, Precision::automatic);
  const MemoryBudget budget("300K");
  for (const int threads : {1, 2}) {
    TinySession session(*backend, model, offloaded_options(weights, Precision::automatic, threads));
    const StepPlan prompt = session.plan({{0, 60, RowClass::prompt}});
    const StepPlan decode = session.plan({{0, 1, RowClass::generated}});
    StepOutput output;
    session.executable().run(prompt, session.state(), output);
    session.executable().run(decode, session.state(), output);
    const int64_t before = allocations.load();
    // Experts are pinned in the 32nd run.
    for (int i = 0; i < 40; ++i) session.executable().run(decode, session.state(), output);
    session.executable().run(prompt, session.state(), output);
    EXPECT_EQ(allocations.load() - before, 0);
  }
}

// An embedding times a factor, as models have it that scale their residuals.
TinyModel scaled_model() {
  const auto forward = [](Recorder& recorder) {
    const AxisList vocab{{Axis::vocab, 300}};
    const AxisList width{{Axis::embed, 64}};
    const Tensor table = recorder.weights().matrix("embed.weight", vocab, width);
    const Tensor factor = constant(recorder, {64}, {0.25}, DType::f32);
    const Tensor x = embed(recorder.tokens(), table) * factor;
    recorder.output(kLogitsOutput, linear(gather_rows(x, recorder.logit_rows()), table));
  };
  TinyModel model;
  model.program = record("scaled", {}, forward).value();
  model.weights = case_weights(model.program, Format::f32);
  return model;
}

TEST(Factor, AllocatesNothingAndIsNotLeftToTheReference) {
  const auto backend = make_cpu_backend();
  const TinyModel model = scaled_model();
  TinySession session(*backend, model, tiny_options(Precision::automatic, 2));
  const StepPlan prompt = session.plan({{0, 60, RowClass::prompt}});
  const StepPlan decode = session.plan({{0, 1, RowClass::generated}});
  StepOutput output;
  session.executable().run(prompt, session.state(), output);
  EXPECT_EQ(allocations_of_run(session, prompt, output), 0);
  EXPECT_EQ(allocations_of_run(session, decode, output), 0);
  for (const auto& [operation, kernel] : session.executable().kernels())
    EXPECT_FALSE(kernel.ends_with("_reference")) << operation;
}

// A megabyte a thread, which the C library's allocator would keep while the model runs.
TEST(Load, ReadsIntoPagesThatTheSystemHasBack) {
  constexpr int64_t kSize = 1024;
  cpu::LaidOutWeight weight;
  weight.view.name = "w";
  weight.view.rows = kSize;
  weight.view.columns = kSize;
  weight.view.source =
      memory_source(std::vector<std::byte>(static_cast<size_t>(kSize * kSize * 4)), "zeros");
  weight.layout = packed_layout(traits(Format::f32), kSize, kSize, /*exact_rows=*/true).value();
  const auto pool = ThreadPool::create(2).value();
  const cpu::Arena arena = cpu::Arena::create(weight.packed_bytes(), "packed weights").value();
  cpu::WeightReader reader(*pool);
  largest_block = 0;
  ASSERT_TRUE(reader.pack(weight, 0, weight.stripes(), arena.data()).ok());
  EXPECT_LT(largest_block.load(), 64u << 10);
}

}  // namespace
}  // namespace dunlin
