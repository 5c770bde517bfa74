// What is said of memory and storage before a model is loaded is what an executable that offloads has.
#include "backend/cpu/residency.h"

#include <gtest/gtest.h>

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "backend/cpu/cpu_backend.h"
#include "backend/cpu/memory_budget.h"
#include "tiny_mapped_weights.h"
#include "tiny_model.h"
#include "unreadable_weights.h"

namespace dunlin::cpu {
namespace {

Residency planned_residency(const TinyModel& model, uint64_t available, int64_t pages = 7) {
  const std::vector<int64_t> each_group(model.program.kv_groups.size(), pages);
  return make_cpu_backend()
      ->residency(model.program, unreadable(model.weights), tiny_options(Precision::automatic, 2),
                  each_group, available)
      .value();
}

TEST(Residency, IsWhatAnExecutableHas) {
  const auto backend = make_cpu_backend();
  for (const auto& [family, format] :
       {std::pair("llama", "mixed"), std::pair("qwen2", "BF16"), std::pair("gpt_oss", "Q8_0")}) {
    const TinyModel model = tiny_model(family, format);
    const auto weights = TinyMappedWeights::create(*backend, model, Precision::automatic);
    bool some_stays = false, some_does_not = false;
    for (const char* bytes : {"0", "50K", "100K", "200K", "300K", "500K", "100M"}) {
      SCOPED_TRACE(testing::Message() << family << " " << bytes);
      const MemoryBudget budget(bytes);
      TinySession session(*backend, model, offloaded_options(weights, Precision::automatic, 2));
      const OffloadStatistics runs = *session.executable().offload();
      const Residency planned =
          planned_residency(model, /*available=*/0);  // the variable goes before
      EXPECT_EQ(planned.budget_bytes, runs.budget_bytes);
      EXPECT_EQ(planned.pinned_bytes, runs.pinned_bytes);
      EXPECT_EQ(planned.streamed_bytes, runs.streamed_bytes);
      EXPECT_EQ(planned.expert_room_bytes, runs.expert_room_bytes);
      EXPECT_LE(planned.pinned_layers, planned.layers);
      EXPECT_EQ(planned.expert_bytes > 0, std::string(family) == "gpt_oss");
      EXPECT_LE(planned.streaming_bytes, planned.streamed_bytes);
      EXPECT_GE(planned.held_bytes(), planned.least_bytes);
      if (planned.budget_bytes >= planned.least_bytes) {
        EXPECT_LE(planned.held_bytes() - planned.unmapped_bytes, planned.budget_bytes);
      }
      some_stays = some_stays || planned.pinned_layers > 0;
      some_does_not = some_does_not || planned.reread_bytes() > 0;
    }
    EXPECT_TRUE(some_stays) << family;
    EXPECT_TRUE(some_does_not) << family;
  }
}

TEST(Residency, WithoutABudgetItHoldsTheLeast) {
  const TinyModel model = tiny_model("gpt_oss", "Q8_0");
  const MemoryBudget none("");
  const Residency residency = planned_residency(model, 0);
  EXPECT_EQ(residency.budget_bytes, 0u);
  EXPECT_EQ(residency.pinned_bytes, 0u);
  EXPECT_EQ(residency.held_bytes() - residency.unmapped_bytes, residency.least_bytes);
  EXPECT_GT(residency.least_bytes, 0u);
}

// As the executable asks the system once it has activations and scratch, with the cache still to come.
TEST(Residency, TheBudgetIsWhatTheRestLeaves) {
  const TinyModel model = tiny_model("llama", "Q8_0");
  const MemoryBudget none("");
  const auto backend = make_cpu_backend();
  constexpr uint64_t kThere = 64 << 20;
  for (const int64_t pages : {7, 70}) {
    const std::vector<int64_t> each_group(model.program.kv_groups.size(), pages);
    const Footprint held = backend
                               ->footprint(model.program, unreadable(model.weights),
                                           tiny_options(Precision::automatic, 2), each_group)
                               .value();
    const Residency residency = planned_residency(model, kThere, pages);
    const uint64_t left = kThere - held.activations - held.workspace - residency.unmapped_bytes;
    EXPECT_EQ(residency.budget_bytes, left - left / 8 - held.kv);
    EXPECT_EQ(residency.pinned_layers, residency.layers);
    EXPECT_EQ(residency.reread_bytes(), 0u);
    EXPECT_LE(residency.pinned_bytes, held.weights);
  }
}

// A token reads one row of it, though it does in the first layer. A head that is the same weight reads
// all of it.
TEST(Residency, LeavesATableThatIsOnlyLookedUpToTheSystem) {
  const MemoryBudget nothing("0");
  for (const auto& [family, tied] : {std::pair("llama", true), std::pair("qwen2", false)}) {
    const TinyModel model = tiny_model(family, "BF16");
    const Footprint held = make_cpu_backend()
                               ->footprint(model.program, unreadable(model.weights),
                                           tiny_options(Precision::automatic, 2), {7})
                               .value();
    uint64_t streamed = 0;
    for (size_t i = 0; i < held.by_weight.size(); ++i) {
      const bool is_table = model.program.weights[i].name == "model.embed_tokens.weight";
      if (tied || !is_table) streamed += held.by_weight[i];
    }
    EXPECT_EQ(planned_residency(model, 0).streamed_bytes, streamed) << family;
  }
}

TEST(Residency, TwoGroupsThatAreStreamedStayWhereTheyAre) {
  Residency residency;
  residency.streamed_bytes = 20;
  residency.streaming_bytes = 20;
  EXPECT_EQ(residency.reread_bytes(), 0u);
  residency.streamed_bytes = 30;
  EXPECT_EQ(residency.reread_bytes(), 30u);
}

TEST(Residency, AVariableThatIsNoSizeIsAnError) {
  const TinyModel model = tiny_model("llama", "Q8_0");
  const MemoryBudget wrong("much");
  const std::vector<int64_t> pages(model.program.kv_groups.size(), 7);
  const auto residency =
      make_cpu_backend()->residency(model.program, unreadable(model.weights),
                                    tiny_options(Precision::automatic, 2), pages, 1 << 30);
  ASSERT_FALSE(residency.ok());
  EXPECT_EQ(residency.error().kind, ErrorKind::usage);
}

TEST(BudgetWithin, IsNothingWhereOthersDoNotFit) {
  EXPECT_EQ(budget_within(800, 100), 600u);
  EXPECT_EQ(budget_within(800, 700), 0u);
  EXPECT_EQ(budget_within(800, 701), std::nullopt);
  EXPECT_EQ(budget_within(UINT64_MAX, 1), UINT64_MAX);
}

}  // namespace
}  // namespace dunlin::cpu
