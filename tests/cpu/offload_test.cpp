// When pages are read, kept and given back, told to a pager that only writes it down; and a model whose
// weights are read while it runs computes the bits of one that holds them.
#include "backend/cpu/offload.h"

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdint>
#include <memory>
#include <mutex>
#include <string>
#include <utility>
#include <vector>

#include "backend/cpu/cpu_backend.h"
#include "backend/cpu/weight_map.h"
#include "backend/profile.h"
#include "base/thread_pool.h"
#include "tiny_mapped_weights.h"
#include "tiny_model.h"

namespace dunlin::cpu {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;
using testing::IsSupersetOf;
using testing::UnorderedElementsAre;

// Addresses that nobody reads; a thousand for each thing.
const std::byte* place(int64_t thousands) {
  return reinterpret_cast<const std::byte*>(thousands * 1000);
}

class WritingPager final : public Pager {
 public:
  // "read 3": of what lies at place(3).
  std::vector<std::string> take() {
    const std::lock_guard lock(mutex_);
    return std::exchange(lines_, {});
  }

  void read_ahead(const MemoryRange& range) noexcept override { write("read", range); }
  bool hold(const MemoryRange& range) noexcept override {
    write("hold", range);
    return may_lock;
  }
  void release(const MemoryRange& range) noexcept override { write("release", range); }
  void drop(const MemoryRange& range) noexcept override { write("drop", range); }

  bool may_lock = true;

 private:
  void write(const char* what, const MemoryRange& range) {
    const std::lock_guard lock(mutex_);
    lines_.push_back(fmt::format("{} {}", what, reinterpret_cast<uintptr_t>(range.begin) / 1000));
  }

  std::mutex mutex_;
  std::vector<std::string> lines_;
};

// Groups 1, 2, .. of a hundred bytes each, the last one outside of the layers.
WeightMap dense(int count) {
  WeightMap map;
  for (int i = 1; i <= count; ++i) {
    map.groups.push_back({.layer = i < count, .ranges = {{place(i), 100}}, .bytes = 100});
  }
  return map;
}

// One dense group, and two layers of four experts with matrices of 10,000 bytes: those of expert 2 begin
// at places 120, 220 and 320 in the first layer, at 520, 620 and 720 in the second.
WeightMap mixture() {
  WeightMap map = dense(1);
  for (const int64_t layer : {100, 500}) {
    MappedExperts experts{.experts = 4};
    for (int64_t i = 0; i < 3; ++i)
      experts.first[static_cast<size_t>(i)] = {place(layer + 100 * i), 10'000};
    map.stacks.push_back(experts);
  }
  return map;
}

class OffloadPolicy : public testing::Test {
 protected:
  void start(WeightMap map, int64_t per_row, uint64_t budget, bool may_lock = true) {
    auto pager = std::make_unique<WritingPager>();
    pager->may_lock = may_lock;
    pager_ = pager.get();
    offload_ = Offload::create(std::move(map), per_row, budget, std::move(pager), {}).value();
    offload_->settle();
  }
  std::vector<std::string> enter(int32_t group) {
    offload_->enter(group);
    offload_->settle();
    return pager_->take();
  }
  std::vector<std::string> choose(int32_t stack, const std::vector<int32_t>& chosen) {
    offload_->choose(stack, chosen, *pool_);
    offload_->settle();
    return pager_->take();
  }
  std::vector<std::string> leave() {
    offload_->leave();
    offload_->settle();
    return pager_->take();
  }

  std::unique_ptr<ThreadPool> pool_ = ThreadPool::create(1).value();
  std::unique_ptr<Offload> offload_;
  WritingPager* pager_ = nullptr;
};

TEST_F(OffloadPolicy, WhatFitsIsReadAndHeldAtOnce) {
  start(dense(3), 0, 1000);
  EXPECT_THAT(pager_->take(),
              ElementsAre("read 1", "hold 1", "read 2", "hold 2", "read 3", "hold 3"));
  for (int32_t group : {0, 1, 2, 0}) EXPECT_THAT(enter(group), IsEmpty());
  const OffloadStatistics statistics = offload_->statistics();
  EXPECT_EQ(statistics.budget_bytes, 1000u);
  EXPECT_EQ(statistics.pinned_bytes, 300u);
  EXPECT_EQ(statistics.streamed_bytes, 0u);
  EXPECT_TRUE(statistics.locked);
}

TEST_F(OffloadPolicy, ASystemThatLocksNothingIsTold) {
  start(dense(1), 0, 1000, /*may_lock=*/false);
  EXPECT_FALSE(offload_->statistics().locked);
}

TEST_F(OffloadPolicy, StreamedGroupsAreReadOneAhead) {
  start(dense(4), 0, 300);  // group 4 stays, two of the others are on their way at a time
  EXPECT_THAT(pager_->take(), ElementsAre("read 4", "hold 4", "read 1"));
  EXPECT_EQ(offload_->statistics().streamed_bytes, 300u);
  EXPECT_THAT(enter(0), ElementsAre("read 2", "drop 3"));
  EXPECT_THAT(enter(0), IsEmpty());  // another step of the same group
  EXPECT_THAT(enter(1), ElementsAre("read 3", "drop 1"));
  EXPECT_THAT(enter(2), ElementsAre("read 1", "drop 2"));
  EXPECT_THAT(enter(3), IsEmpty());
  EXPECT_THAT(enter(0), ElementsAre("read 2", "drop 3"));
}

TEST_F(OffloadPolicy, OneOrTwoStreamedGroupsStayWhereTheyAre) {
  start(dense(2), 0, 0);
  EXPECT_THAT(pager_->take(), IsEmpty());
  for (int32_t group : {0, 1, 0, 1}) EXPECT_THAT(enter(group), IsEmpty());
}

TEST_F(OffloadPolicy, ChosenExpertsAreReadBeforeTheirUse) {
  start(mixture(), 2, 100 + 8 * 30'000);
  EXPECT_THAT(pager_->take(), ElementsAre("read 1", "hold 1"));
  EXPECT_THAT(choose(0, {2, 0, 2}),
              ElementsAre("read 100", "read 200", "read 300", "read 120", "read 220", "read 320"));
  EXPECT_THAT(leave(), IsEmpty());
  EXPECT_THAT(choose(0, {2, 0}), IsEmpty());
  EXPECT_THAT(choose(1, {3, 2}), IsSupersetOf({"read 530", "read 630", "read 730"}));
  const OffloadStatistics statistics = offload_->statistics();
  EXPECT_EQ(statistics.expert_uses, 6);
  EXPECT_EQ(statistics.expert_hits, 2);
  EXPECT_EQ(statistics.expert_room_bytes, 240'000u);
}

TEST_F(OffloadPolicy, ExpertsBeyondTheRoomAreGivenBack) {
  start(mixture(), 2, 100 + 2 * 30'000);
  pager_->take();
  EXPECT_EQ(choose(0, {0, 1}).size(), 6u);
  EXPECT_THAT(leave(), IsEmpty());
  EXPECT_THAT(choose(1, {2}), UnorderedElementsAre("drop 100", "drop 200", "drop 300", "read 520",
                                                   "read 620", "read 720"));
  // A prompt whose rows choose all four of a layer: one is there, one is read ahead in the place of the
  // other layer's, and two are given back behind it.
  EXPECT_EQ(choose(0, {0, 1, 2, 3}).size(), 3u + 3u);
  EXPECT_EQ(leave().size(), 6u);
}

TEST_F(OffloadPolicy, TheHottestExpertsAreHeldEvery32Runs) {
  start(mixture(), 1, 100 + 3 * 30'000);  // room for three, of which one is pinned
  pager_->take();
  for (int run = 1; run <= 32; ++run) {
    choose(0, {3});
    leave();
    choose(1, {run % 4});
    leave();
    offload_->end_run();
    offload_->settle();
    const std::vector<std::string> lines = pager_->take();
    if (run < 32) {
      EXPECT_THAT(lines, IsEmpty()) << run;
    } else {
      EXPECT_THAT(lines, ElementsAre("hold 130", "hold 230", "hold 330"));
    }
  }
  EXPECT_EQ(offload_->statistics().pinned_bytes, 100u + 30'000u);
}

TEST(LayerOf, IsTheBeginningOfANodesName) {
  EXPECT_EQ(layer_of("layers.3.attend.q_proj"), "layers.3");
  EXPECT_EQ(layer_of("layers.12"), "layers.12");
  EXPECT_EQ(layer_of("layers.12x.a"), "");
  EXPECT_EQ(layer_of("layers."), "");
  EXPECT_EQ(layer_of("embed"), "");
  EXPECT_EQ(layer_of("head.linear"), "");
  EXPECT_EQ(layer_of(""), "");
}

// Family and format.
class Offloaded : public testing::TestWithParam<std::pair<const char*, const char*>> {};

INSTANTIATE_TEST_SUITE_P(All, Offloaded,
                         testing::Values(std::pair("llama", "mixed"), std::pair("qwen2", "BF16"),
                                         std::pair("gpt_oss", "mixed"),
                                         std::pair("gpt_oss", "Q8_0")),
                         [](const auto& info) {
                           return fmt::format("{}_{}", info.param.first, info.param.second);
                         });

using Logits = std::vector<std::vector<float>>;

TEST_P(Offloaded, HasTheSameBitsWhateverTheBudget) {
  const auto& [family, format] = GetParam();
  const bool has_experts = std::string(family) == "gpt_oss";
  const auto backend = make_cpu_backend();
  const TinyModel model = tiny_model(family, format);
  TinySession whole(*backend, model, tiny_options(Precision::automatic, 2));
  EXPECT_FALSE(whole.executable().offload().has_value());
  const Logits wanted = prompt_and_decode(whole, 0, 40, 16, 40);
  const auto weights = TinyMappedWeights::create(*backend, model, Precision::automatic);
  for (const char* bytes : {"0", "300K", "1M", "2M", "1G"}) {
    for (const int threads : {1, 3}) {
      const MemoryBudget budget(bytes);
      TinySession session(*backend, model,
                          offloaded_options(weights, Precision::automatic, threads));
      const Logits logits = prompt_and_decode(session, 0, 40, 16, 40);
      EXPECT_TRUE(logits == wanted) << bytes << ", " << threads << " threads";
      const OffloadStatistics statistics = session.executable().offload().value();
      EXPECT_EQ(statistics.expert_uses > 0, has_experts) << bytes;
      EXPECT_LE(statistics.expert_hits, statistics.expert_uses) << bytes;
      if (std::string(bytes) == "0") {
        EXPECT_GT(statistics.streamed_bytes, 0u);
      }
      if (std::string(bytes) == "1G") {
        EXPECT_EQ(statistics.streamed_bytes, 0u);
        // With memory for all of them each expert of both layers comes once.
        EXPECT_LE(statistics.expert_uses - statistics.expert_hits, 12);
      }
    }
  }
}

TEST(OffloadedProfile, RecordsTheSameSteps) {
  const auto backend = make_cpu_backend();
  const TinyModel model = tiny_model("gpt_oss", "Q8_0");
  const auto weights = TinyMappedWeights::create(*backend, model, Precision::automatic);
  const MemoryBudget budget("300K");
  TinySession session(*backend, model, offloaded_options(weights, Precision::automatic, 2));
  Profile profile(1 << 12);
  ASSERT_TRUE(session.executable().record(&profile).ok());
  session.step({{0, 5, RowClass::prompt}});
  ASSERT_EQ(profile.runs().size(), 1u);
  const auto names = [](const Profile& of) {
    std::vector<std::string> list;
    for (const ProfiledStep& step : of.steps()) list.push_back(step.operation + " " + step.name);
    return list;
  };
  Profile other(1 << 12);
  TinySession whole(*backend, model, tiny_options(Precision::automatic, 2));
  ASSERT_TRUE(whole.executable().record(&other).ok());
  EXPECT_EQ(names(profile), names(other));
  // Choices of experts count while it records, too.
  EXPECT_GT(session.executable().offload()->expert_uses, 0);
  ASSERT_TRUE(session.executable().record(nullptr).ok());
}

TEST(OffloadedCompile, NeedsMappedWeights) {
  const auto backend = make_cpu_backend();
  const TinyModel model = tiny_model("llama", "Q8_0");
  CompileOptions options = tiny_options(Precision::automatic, 1);
  options.offload.on = true;
  EXPECT_EQ(backend->compile(model.program, model.weights, options).error().kind, ErrorKind::usage);
  options.prepared = TinyMappedWeights::create(*backend, model, Precision::automatic);
  EXPECT_EQ(backend->compile(model.program, model.weights, options).error().kind, ErrorKind::usage);
  options.load_mode = LoadMode::mmap;
  EXPECT_TRUE(backend->compile(model.program, model.weights, options).ok());
  const MemoryBudget wrong("much");
  EXPECT_EQ(backend->compile(model.program, model.weights, options).error().kind, ErrorKind::usage);
}

TEST(OffloadedCompile, AllIsReadAheadOnlyWhereItIsToStayInMemory) {
  const auto backend = make_cpu_backend();
  const TinyModel model = tiny_model("llama", "Q8_0");
  const auto read_aheads = [&](LoadMode load_mode, bool offload) {
    const auto weights = TinyMappedWeights::create(*backend, model, Precision::automatic);
    CompileOptions options = tiny_options(Precision::automatic, 1);
    options.prepared = weights;
    options.load_mode = load_mode;
    options.offload.on = offload;
    EXPECT_TRUE(backend->compile(model.program, model.weights, options).ok());
    return weights->read_aheads();
  };
  EXPECT_EQ(read_aheads(LoadMode::copy, false), 1);
  EXPECT_EQ(read_aheads(LoadMode::mmap, false), 1);
  EXPECT_EQ(read_aheads(LoadMode::mmap, true), 0);
}

}  // namespace
}  // namespace dunlin::cpu
