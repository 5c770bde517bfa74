// Choice and weights of experts (docs/decisions/0002-numerics.md, "Mixture of experts").
#include <vector>

#include "backend/reference/scalar.h"
#include "base/scalar_math.h"

namespace dunlin::reference {

void route(const float* logits, int64_t expert_count, const RouteAttributes& attributes,
           int32_t* experts, float* weights) {
  const int64_t k = attributes.k;
  top_k(logits, expert_count, k, experts, weights);
  const float largest = weights[0];
  for (int64_t j = 0; j < k; ++j) weights[j] = exp_f32(weights[j] - largest);
  float sum = 0.0f;
  if (attributes.softmax_first) {
    std::vector<float> exponentials(static_cast<size_t>(expert_count));
    for (int64_t e = 0; e < expert_count; ++e) {
      exponentials[static_cast<size_t>(e)] = exp_f32(logits[e] - largest);
    }
    sum = lane_sum(exponentials.data(), expert_count);
  } else {
    for (int64_t j = 0; j < k; ++j) sum = sum + weights[j];
  }
  for (int64_t j = 0; j < k; ++j) weights[j] = weights[j] / sum;
}

}  // namespace dunlin::reference
