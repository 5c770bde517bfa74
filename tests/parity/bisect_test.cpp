// Bisection names the optimisation that breaks a model, here one that is broken on purpose.
#include "parity/bisect.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <set>

#include "backend/cpu/fuse.h"
#include "golden_models.h"
#include "parity/array_file.h"
#include "support/temporary_folder.h"

namespace dunlin {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using Names = std::vector<std::string>;

Names letters(int count) {
  Names names;
  for (int i = 0; i < count; ++i) names.emplace_back(1, static_cast<char>('a' + i));
  return names;
}

// The smallest disabling when any of `culprits` (each a set) must be off, and the calls it took.
std::pair<Names, int> found(int names, const std::vector<Names>& culprits) {
  int calls = 0;
  const auto passes = [&](const Names& disabled) -> Result<bool> {
    ++calls;
    return std::ranges::any_of(culprits, [&](const Names& set) {
      return std::ranges::all_of(set, [&](const std::string& name) {
        return std::ranges::find(disabled, name) != disabled.end();
      });
    });
  };
  return {smallest_disabling(letters(names), passes).value(), calls};
}

TEST(SmallestDisabling, FindsOneCulpritByHalves) {
  for (char culprit = 'a'; culprit <= 'p'; ++culprit) {
    const auto [names, calls] = found(16, {{std::string(1, culprit)}});
    EXPECT_THAT(names, ElementsAre(std::string(1, culprit)));
    EXPECT_LE(calls, 8);
  }
  EXPECT_EQ(found(1, {{"a"}}).second, 0);
}

TEST(SmallestDisabling, FindsCulpritsThatOnlyTogetherHelp) {
  EXPECT_THAT(found(12, {{"b", "k"}}).first, ElementsAre("b", "k"));
  EXPECT_THAT(found(12, {{"a", "f", "l"}}).first, ElementsAre("a", "f", "l"));
  EXPECT_THAT(found(3, {{"a", "b", "c"}}).first, ElementsAre("a", "b", "c"));
}

TEST(SmallestDisabling, PrefersWhatComesFirst) {
  EXPECT_THAT(found(16, {{"c"}, {"d"}}).first, ElementsAre("c"));
  EXPECT_THAT(found(16, {{"o"}, {"c"}, {"p"}}).first, ElementsAre("c"));
}

TEST(SmallestDisabling, PassesOnAnError) {
  const auto result = smallest_disabling(
      letters(4), [](const Names&) -> Result<bool> { return runtime_error("x"); });
  ASSERT_FALSE(result.ok());
  EXPECT_EQ(result.error().message, "x");
}

constexpr const char* kBisectedModel = "llama_plain";

class BisectTest : public testing::Test {
 protected:
  // The golden's prompt and logits alone: a tap would keep nodes apart that should run together.
  void SetUp() override {
    const auto golden = ArrayFile::open(golden_path(kBisectedModel)).value();
    std::map<std::string, Array> arrays;
    for (const char* name : {"input_ids", "logits"}) arrays[name] = golden.read(name).value();
    write_array_file(path_, arrays).value();
  }

  ParityReport compare(const ParityOptions& options = {}) {
    return compare_with_reference(model(), path_, options).value();
  }
  Bisection bisect_with(const ParityOptions& options = {}) {
    tried_.clear();
    return bisect(model(), path_, options,
                  [this](const Names& disabled) {
                    tried_.push_back(disabled);
                    return Result<void>();
                  })
        .value();
  }
  void break_reference() {
    const auto file = ArrayFile::open(path_).value();
    std::map<std::string, Array> arrays;
    for (const std::string& name : file.names()) arrays[name] = file.read(name).value();
    arrays["logits"].floats[5] += 1.0f;
    write_array_file(path_, arrays).value();
  }
  static std::string model() { return model_path(kBisectedModel, Container::directory); }

  TemporaryFolder folder_;
  const std::string path_ = folder_.file("reference.safetensors");
  std::vector<Names> tried_;
};

// The activation goes to the wrong projection.
void swap_gate_and_up(cpu::Fusion& fusion, const char* name) {
  for (cpu::FusedStep& step : fusion.steps()) {
    if (step.node == cpu::kNoNode || step.gated == cpu::kNoNode) continue;
    std::swap(step.linears[0], step.linears[1]);
    step.absorbed.push_back({name, step.gated});
  }
}

TEST_F(BisectTest, NamesABrokenFusion) {
  ASSERT_TRUE(compare().pass());
  const cpu::ScopedRewrite broken({"swapped_gate", "a wrong result", swap_gate_and_up});
  ASSERT_FALSE(compare().pass());
  const Bisection bisection = bisect_with();
  EXPECT_THAT(bisection.culprits, ElementsAre("swapped_gate"));
  EXPECT_FALSE(bisection.reference_passes.has_value());
  EXPECT_EQ(bisection.comparisons, std::ssize(tried_));
  EXPECT_LE(bisection.comparisons, 10);
  // Without it the reference back end would be compared.
  for (const Names& names : tried_) EXPECT_THAT(names, testing::Not(testing::Contains("compiled")));
  // What it says is so.
  EXPECT_TRUE(compare({.disabled = bisection.culprits}).pass());
}

TEST_F(BisectTest, WhatIsOffStaysOff) {
  const cpu::ScopedRewrite broken({"swapped_gate", "a wrong result", swap_gate_and_up});
  const Bisection bisection = bisect_with({.disabled = {"memory_reuse"}});
  EXPECT_THAT(bisection.culprits, ElementsAre("swapped_gate"));
  for (const Names& names : tried_)
    EXPECT_THAT(names, testing::Not(testing::Contains("memory_reuse")));
}

TEST_F(BisectTest, SaysWhenNoOptimizationIsToBlame) {
  break_reference();
  ASSERT_FALSE(compare().pass());
  const Bisection on_cpu = bisect_with();
  EXPECT_THAT(on_cpu.culprits, IsEmpty());
  EXPECT_EQ(on_cpu.reference_passes, false);
  EXPECT_EQ(on_cpu.comparisons, 2);
  const Bisection on_reference = bisect_with({.backend = "reference"});
  EXPECT_THAT(on_reference.culprits, IsEmpty());
  EXPECT_FALSE(on_reference.reference_passes.has_value());
}

TEST_F(BisectTest, EndsWhenToldTo) {
  break_reference();
  const auto result = bisect(model(), path_, {},
                             [](const Names&) -> Result<void> { return runtime_error("enough"); });
  ASSERT_FALSE(result.ok());
  EXPECT_EQ(result.error().message, "enough");
}

TEST(ParityOptionsTest, NothingDependsOnWhatIsDisabled) {
  const auto wanted = compare_with_reference(model_path(kBisectedModel, Container::gguf),
                                             golden_path(kBisectedModel), {})
                          .value();
  const auto without = compare_with_reference(
                           model_path(kBisectedModel, Container::gguf), golden_path(kBisectedModel),
                           {.disabled = {"simd_linear_f32", "residual_add", "memory_reuse"}})
                           .value();
  ASSERT_EQ(wanted.rows.size(), without.rows.size());
  for (size_t i = 0; i < wanted.rows.size(); ++i)
    EXPECT_EQ(wanted.rows[i].max_abs_diff, without.rows[i].max_abs_diff) << wanted.rows[i].name;
  const auto unknown =
      compare_with_reference(model_path(kBisectedModel, Container::gguf),
                             golden_path(kBisectedModel), {.disabled = {"nonsense"}});
  ASSERT_FALSE(unknown.ok());
  EXPECT_EQ(unknown.error().kind, ErrorKind::usage);
}

TEST(TruncatedModel, IsComparedUpToItsLastLayer) {
  const auto report = compare_with_reference(model_path(kBisectedModel, Container::directory),
                                             golden_path(kBisectedModel), {.layers = 1})
                          .value();
  EXPECT_TRUE(report.pass());
  std::set<std::string> names;
  for (const ParityRow& row : report.rows) names.insert(row.name);
  for (const char* name : {"hidden.0", "hidden.1", "q.0", "mlp_out.0"})
    EXPECT_TRUE(names.contains(name)) << name;
  for (const char* name : {"hidden.2", "q.1", "final_norm", "logits", "greedy_ids"})
    EXPECT_FALSE(names.contains(name)) << name;
  EXPECT_THAT(report.ignored, testing::IsSupersetOf({"logits", "final_norm", "hidden.2"}));
  // As many layers as there are is the whole model.
  const auto whole = compare_with_reference(model_path(kBisectedModel, Container::directory),
                                            golden_path(kBisectedModel), {.layers = 2})
                         .value();
  EXPECT_TRUE(whole.pass());
  EXPECT_THAT(whole.ignored, IsEmpty());
}

TEST(TruncatedModel, NeedsAReferenceOfItsInside) {
  const auto file = ArrayFile::open(golden_path(kBisectedModel)).value();
  const TemporaryFolder folder;
  const std::string path = folder.file("logits_alone.safetensors");
  write_array_file(path, {{"input_ids", file.read("input_ids").value()},
                          {"logits", file.read("logits").value()}})
      .value();
  const auto report =
      compare_with_reference(model_path(kBisectedModel, Container::directory), path, {.layers = 1});
  ASSERT_FALSE(report.ok());
  EXPECT_THAT(report.error().message, HasSubstr("cut by --layers"));
}

}  // namespace
}  // namespace dunlin
