// StepResults: the outputs of a step on the host, put together from its launches.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "backend/pjrt/client/client.h"
#include "backend/pjrt/launch.h"
#include "step/step.h"

namespace dunlin::pjrt {

// An output of a launch on the devices: whole, or parts of its last dimension, in their order. The
// last parts may be padded.
struct OutputArray {
  TensorType type = {};  // of each part
  std::vector<const Buffer*> parts = {};
};

class StepResults {
 public:
  explicit StepResults(const Program& program);

  // Sizes of a step's outputs; zeros. Rows of logits that nobody reads stay on the device.
  void prepare(const StepPlan& plan);
  // Copies the results of a launch, for one part of the batch, to where they belong. `outputs` are in
  // the Program's order.
  Result<void> add(const Launch& launch, int64_t batch_part, std::span<const OutputArray> outputs);
  // The same of a loop: i32 [steps of the bucket, rows], kNoStep or kNotFinite where there is no id.
  Result<void> add_chosen(const Launch& launch, int64_t batch_part, const TensorType& type,
                          const Buffer& chosen);
  // Whether the logits of the last row of sequence number `s` of the step are numbers, where a launch
  // gave them though nobody asked for any of it (LaunchPlanner::step_array()). Else false, as of a
  // Program without statistics of logits.
  bool unasked_finite(size_t s) const { return unasked_finite_[s]; }
  // Points `output` at the results, which stay until the next prepare().
  void publish(StepOutput& output) const;

  uint64_t bytes() const;

 private:
  struct Array {
    TensorType type;
    std::vector<std::byte> bytes;
  };
  // Copies what is in `scratch_`: part number `part` of an output. `order` says what each element of
  // its leading dimension is in the step; empty: what it is here.
  void place(const OutputArray& output, size_t part, std::span<const int32_t> order, Array& into);
  const Array* find(const char* name) const;
  bool stays_on_device(size_t output) const;
  // From statistics of logits in `scratch_`, whose rows are `order` in the step.
  void note_unasked(const Launch& launch, int64_t batch_part, std::span<const int32_t> order);
  void publish_logits(StepOutput& output) const;
  void publish_chosen(StepOutput& output) const;

  const Program& program_;
  SymbolSizes sizes_;
  std::vector<Array> arrays_;  // of each output of the Program
  int64_t steps_ = 1;
  bool whole_rows_ = true;
  std::vector<int32_t> chosen_;       // of a loop [steps, R]
  std::vector<bool> unasked_finite_;  // by sequence
  std::vector<std::byte> scratch_;
};

}  // namespace dunlin::pjrt
