// From the logits of a masked position to a token and how sure it is. Source: sample_tokens of the
// published generation_utils.py (Dream 7B), in its order:
//   temperature; top_p, then top_k; softmax; the token; the confidence.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "base/result.h"
#include "step/step.h"

namespace dunlin {

// Larger is surer.
enum class Confidence : uint8_t {
  probability,      // p of the token
  margin,           // p of the best token less p of the second
  negative_entropy  // sum of p ln(p + 1e-10), nats
};

struct MaskedSamplerParams {
  float temperature = 0.0f;  // 0: the best token, the lowest id among equals
  float top_p = 1.0f;        // drops tokens before which the mass is above it; 1: off
  int32_t top_k = 0;         // of what is left, ties with the k-th stay; 0: off
  Confidence confidence = Confidence::probability;
};

struct MaskedToken {
  int32_t token = 0;
  float confidence = 0;
};

class MaskedSampler {
 public:
  // `u` is uniform in [0, 1), for temperature > 0: the inverse CDF in descending probability, ties by
  // lowest id. All probabilities are those after the filters. Where the tokens beyond the view's
  // candidates have less than 1e-9 of the mass together, they are left out. A row with a NaN or
  // infinity is an error of kind runtime.
  Result<MaskedToken> sample(const LogitsView& view, const MaskedSamplerParams& params, float u);

 private:
  void begin(const LogitsView& view, float temperature);
  bool only_candidates_matter(const LogitsView& view) const;
  double weight(float logit) const;  // p relative to the best token's
  double ranked_weight(size_t rank) { return weight(row_[static_cast<size_t>(ranked(rank))]); }
  int32_t ranked(size_t rank);  // the id with this many better ones
  size_t keep(const MaskedSamplerParams& params);
  int32_t choose(float u, double mass, size_t kept);
  double entropy_sum(double mass, size_t kept);

  std::span<const float> row_ = {};
  std::span<const int32_t> candidates_ = {};  // the view's: best first
  float best_ = 0;
  float temperature_ = 1;
  double total_ = 0;                 // of all weights
  size_t support_ = 0;               // ranks that have any weight to speak of
  std::vector<int32_t> ranks_ = {};  // best first, as far as was needed
};

}  // namespace dunlin
