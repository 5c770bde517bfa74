// One of what `bench sweep` compares: a model under some options, and what it has measured so far.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "base/result.h"
#include "cli/bench_batches.h"
#include "cli/bench_generation.h"
#include "cli/sweep_report.h"
#include "engine/model.h"

namespace dunlin {

// "cpu auto", "pjrt:gpu exact", "cpu auto kv int8"
std::string side_name(const ModelOptions& options);

class RunningSide {
 public:
  // Loads the model for the largest batch that fits. Errors as load_for_batches().
  static Result<std::unique_ptr<RunningSide>> create(const std::string& path,
                                                     const ModelOptions& options,
                                                     const std::vector<int64_t>& batches,
                                                     const GenerationShape& shape, bool diffusion);

  // False: memory does not hold the batch, or ended with a smaller one.
  bool holds(int64_t batch) const;
  const SweepSide& measured() const { return measured_; }

  // A row begins with a run that does not count. Where memory ends after other rows, so does the side,
  // which is no error.
  Result<void> begin(int64_t batch);
  Result<void> measure();
  // Null where the batch did not come to its end.
  const SweepRow* finish();

 private:
  RunningSide() = default;

  Result<void> make_bench(Model& model, const GenerationShape& shape);
  Result<bool> run();  // false: memory ended

  BatchModel batches_ = {};
  std::unique_ptr<GenerationBench> bench_ = {};  // of batches_.model: destroyed before it
  SweepSide measured_ = {};
  SweepRow row_ = {};
  Generation last_ = {};
  bool ended_ = false;
};

}  // namespace dunlin
