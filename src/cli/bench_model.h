// The measurements of `bench model`, defined as llama-bench defines them: a prompt of random tokens
// (pp), random tokens one by one (tg), or one after the other (pg), after `depth` tokens that are
// not timed. No tokenizer, no sampling.
#pragma once

#include <cstdint>
#include <optional>
#include <random>
#include <string>
#include <utility>
#include <vector>

#include "backend/profile.h"
#include "base/result.h"
#include "engine/sequence_runner.h"
#include "planner/walk.h"

namespace dunlin {

struct BenchTest {
  int64_t prompt = 0;
  int64_t generate = 0;
  int64_t depth = 0;

  int64_t tokens() const { return prompt + generate; }
  std::string name()
      const;  // "pp512", "tg128", "pp512+tg128", each with " @ d4096" where there is depth
};

// Passes that computed equally many rows.
struct PassTimes {
  int64_t rows = 0;
  int64_t passes = 0;
  int64_t nanoseconds = 0;  // of all of them together
};

struct BenchSamples {
  std::vector<int64_t> nanoseconds = {};  // one per repetition
  int64_t tokens = 0;                     // of a repetition
  int64_t weight_passes = 0;              // steps of a repetition: how often the weights are read
  // Of a model that fills in masks: the passes of a repetition, and how many tokens of an answer each
  // decided (nothing: there is no answer).
  std::vector<StepShape> passes = {};
  std::optional<double> tokens_per_forward = {};
  // Of its answers: the passes of all repetitions, each with the choice of its tokens, in the order in
  // which their numbers of rows first came up.
  std::vector<PassTimes> pass_times = {};
  // What a device's compiler made while a repetition was timed: nothing where all programs were there.
  DevicePrograms timed_programs = {};

  void add_pass(int64_t rows, int64_t took_nanoseconds);
  std::vector<double> tokens_per_second() const;
};

// Adds to `sum` what was made between two moments.
void add_programs(const DevicePrograms& before, const DevicePrograms& after, DevicePrograms& sum);

double mean(const std::vector<double>& values);
double standard_deviation(
    const std::vector<double>& values);  // of a sample: n - 1; 0 for one value

// Integers from 0: "512", "1,2", "1-4", "1-9+4", "64-512*2". At most 1024 values. Errors are of kind
// usage and name the text.
Result<std::vector<int64_t>> parse_bench_list(const std::string& text);

// Bytes, as stored, of the weights that a step of so many rows reads: all that the Program declares
// but an embedding table that is only looked up; of a mixture the experts that the rows choose, which
// random tokens do about evenly (planner/walk.h).
uint64_t streamed_weight_bytes(const Model& model, int64_t rows);

// Multiplications and additions of matrices in steps of a model, as the planner counts them
// (planner/walk.h).
class StepFlops {
 public:
  // `model` outlives it. Errors: of the checkpoint.
  static Result<StepFlops> create(const Model& model);
  double of(const StepShape& step) const;

 private:
  explicit StepFlops(PlannedModel planned) : planned_(std::move(planned)) {}

  PlannedModel planned_;
};

// Multiplications and additions of matrices in one repetition of the test, as the planner counts
// them. Errors: of the checkpoint.
Result<double> matrix_flops(const Model& model, const BenchTest& test, const BenchSamples& samples);

// Runs the tests of one kind of model.
class TestBench {
 public:
  virtual ~TestBench() = default;
  // Errors (kind usage): a test that does not fit the context.
  virtual Result<BenchSamples> measure(const BenchTest& test, int64_t repetitions,
                                       bool warm_up) = 0;
  // One more repetition of a test that was measured, whose steps the executable notes. Errors: as
  // measure(), and of Executable::record.
  virtual Result<void> profile(const BenchTest& test, Profile& profile) = 0;
};

// Of a model that writes token after token.
class ModelBench : public TestBench {
 public:
  static Result<ModelBench> create(Model& model);

  Result<BenchSamples> measure(const BenchTest& test, int64_t repetitions, bool warm_up) override;
  Result<void> profile(const BenchTest& test, Profile& profile) override;

 private:
  ModelBench(Model& model, SequenceRunner runner) : model_(&model), runner_(std::move(runner)) {}

  Result<void> go_to_depth(int64_t depth);
  Result<int64_t> run_prompt(int64_t tokens);  // returns the number of steps
  Result<int64_t> run_generate(int64_t tokens);
  Result<int64_t> run_both(const BenchTest& test);
  int32_t random_token();

  Model* model_;
  SequenceRunner runner_;
  std::mt19937 random_{1};
  std::vector<int32_t> tokens_ = {};
};

}  // namespace dunlin
