// The measurement of `bench optimizations`: one binary computes the same tokens with none of the
// optimisations, with each alone, with one more at a time, with all but one, and with all.
//
// They are those of the JAX implementation of GPT-OSS: keys and values shared by query heads (gqa),
// tokens grouped by expert (moe-grouping), the KV cache, compilation, and precision. Here gqa and
// moe-grouping are choices of the compiled model, so `compiled` is added first.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "base/result.h"
#include "engine/model.h"
#include "engine/sequence_runner.h"
#include "program/program.h"

namespace dunlin {

struct LadderStep {
  std::string name;           // as --disable has it
  std::string rests_on = {};  // brings nothing without this one; empty: without any
};

// In the order in which they are added.
struct Ladder {
  struct LeftOut {
    std::string name;
    std::string why;
  };
  std::vector<LadderStep> steps = {};
  std::vector<LeftOut> left_out = {};  // those that the model has nothing for
};
Ladder ladder_of(const Program& program);

// What is measured at a time.
struct LadderSet {
  std::vector<std::string> disabled = {};  // in the order of the ladder
  std::string weights = {};                // a type of --quantize; empty: as they are stored

  bool operator==(const LadderSet&) const = default;
  bool in_float32() const;
};

// A row of the table: a set under the name that its group gives it.
struct LadderRow {
  std::string group;  // baseline, alone, cumulative, all, leave-one-out, weights
  std::string name;
  std::optional<size_t> set = {};  // nothing: not measured, it rests on another
  // What the row's optimisation brings is the time of the set `without` over that of `with`.
  size_t without = 0;
  size_t with = 0;
  std::string rests_on = {};
};

struct LadderPlan {
  static constexpr size_t kAll = 0;       // everything is on
  static constexpr size_t kBaseline = 1;  // nothing of the ladder is

  std::vector<LadderSet> sets = {};  // each once
  std::vector<LadderRow> rows = {};
};
// `weights` are types of --quantize: each is a row with everything on.
LadderPlan plan_ladder(const Ladder& ladder, std::span<const std::string> weights);

struct LadderSample {
  int64_t prompt_ns = 0;
  int64_t generate_ns = 0;
};

// What was measured of a set.
struct LadderResult {
  std::vector<LadderSample> samples = {};
  std::vector<int32_t> ids = {};  // the tokens, the same in every repetition
  std::string backend = {};
  std::string isa = {};
  std::string precision = {};
  int threads = 0;
  uint64_t weights_bytes = 0;            // as held in memory
  uint64_t kv_bytes = 0;                 // of the KV state, as allocated
  uint64_t attention_scratch_bytes = 0;  // Executable::attention_bytes()

  // The most that attention holds at a time.
  uint64_t attention_bytes() const { return kv_bytes + attention_scratch_bytes; }
  std::vector<double> milliseconds() const;  // of each sample, prompt and tokens
  double mean_prompt_ms() const;
  double mean_generate_ms() const;
};

// A set, loaded.
class LadderModel {
 public:
  static Result<std::unique_ptr<LadderModel>> load(const std::string& path, ModelOptions options,
                                                   const LadderSet& set);

  // The prompt, then `generate` tokens one by one, each the best of the logits before it. `timed`: a
  // sample of the result. Errors of kind verification: other tokens than the last time.
  Result<void> run(std::span<const int32_t> prompt, int64_t generate, bool timed);

  const Model& model() const { return *model_; }
  LadderResult result() const;

 private:
  LadderModel(std::unique_ptr<Model> model, SequenceRunner runner)
      : model_(std::move(model)), runner_(std::move(runner)) {}
  Result<void> run_prompt(std::span<const int32_t> prompt, std::vector<int32_t>& ids);
  Result<void> run_generate(int64_t tokens, std::vector<int32_t>& ids);

  std::unique_ptr<Model> model_;
  SequenceRunner runner_;
  std::vector<LadderSample> samples_ = {};
  std::vector<int32_t> ids_ = {};
};

// Pseudo-random ids of the vocabulary, always the same.
std::vector<int32_t> ladder_prompt(int64_t tokens, int64_t vocabulary);

// Sets with the same weights and the same precision compute the same tokens. Error (kind
// verification): the first that does not, and where.
Result<void> check_same_tokens(const LadderPlan& plan, std::span<const LadderResult> results);

}  // namespace dunlin
