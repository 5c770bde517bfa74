// StepResults: the outputs of a step on the host, put together from its launches.
#pragma once

#include <cstddef>
#include <vector>

#include "backend/pjrt/client/client.h"
#include "backend/pjrt/launch.h"
#include "step/step.h"

namespace dunlin::pjrt {

class StepResults {
 public:
  explicit StepResults(const Program& program);

  // Sizes of a step's outputs; zeros.
  void prepare(const StepPlan& plan);
  // Copies a launch's results to where they belong; `types` and `results` are the outputs'.
  Result<void> add(const Launch& launch, const std::vector<TensorType>& types,
                   std::span<const Buffer> results);
  // Points `output` at the results, which stay until the next prepare().
  void publish(StepOutput& output) const;

  uint64_t bytes() const;

 private:
  struct Array {
    TensorType type;
    std::vector<std::byte> bytes;
  };
  const Array* find(const char* name) const;
  void publish_logits(StepOutput& output) const;

  const Program& program_;
  SymbolSizes sizes_;
  std::vector<Array> arrays_;  // of each output of the Program
  std::vector<std::byte> scratch_;
};

}  // namespace dunlin::pjrt
