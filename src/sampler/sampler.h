// From a row of logits to a token: bias, penalties, temperature, top-k, top-p, min-p and the draw.
//
// The order is that of transformers' generation and vLLM, for which model authors tune the values
// they recommend:
//   logit_bias; repeat_penalty; frequency and presence penalties; temperature; top_k; top_p; min_p;
//   draw.
#pragma once

#include <dunlin/sampling.h>

#include <cstdint>
#include <span>
#include <vector>

#include "base/result.h"
#include "step/step.h"

namespace dunlin {

// An error (kind usage) that names the field where the value is outside low..high, or a NaN.
Result<void> in_range(const char* field, double value, double low, double high);

// Ranges of every field, with the field named in the error (kind usage). `vocabulary` bounds
// logit_bias ids.
Result<void> validate(const SamplingParams& params, int64_t vocabulary);

// Whether sample() takes the best candidate of the row as it is (of equals the lowest id), whatever the
// history and u.
bool takes_best(const SamplingParams& params);

// Whether sample() reads LogitsView::row of a view with so many candidates; false: those are enough.
bool needs_whole_row(const SamplingParams& params, int64_t candidates);

struct Candidate {
  int32_t id;
  float logit;  // after bias, penalties and temperature
  float probability;
};

class Sampler {
 public:
  // `history`: every token of the sequence so far; the last `generated` of them are the answer, to
  // which the frequency and presence penalties apply. `u` is uniform in [0, 1). The view has its row
  // where needs_whole_row() says so. A row with a NaN or infinity is an error of kind runtime.
  Result<int32_t> sample(const LogitsView& view, const SamplingParams& params,
                         std::span<const int32_t> history, int64_t generated, float u);

  // The candidates that survived the filters of the last sample() with temperature > 0, by
  // descending probability (normalised), for traces and tests.
  const std::vector<Candidate>& kept() const { return candidates_; }

 private:
  std::vector<Candidate> candidates_;
  std::vector<float> adjusted_;  // the row with bias and penalties
};

}  // namespace dunlin
