// Which of some masked positions a step decides, given how sure each is. Indices are into
// `confidence`; ties go to the lowest.
#pragma once

#include <cstddef>
#include <functional>
#include <span>
#include <vector>

namespace dunlin {

// The `count` surest, the surest first.
std::vector<size_t> surest(std::span<const float> confidence, size_t count);

// Of the `most` surest those that reach the threshold; always the surest one.
std::vector<size_t> above_threshold(std::span<const float> confidence, size_t most,
                                    float threshold);

// The most of the positions of lowest entropy whose entropies, but for the largest of them, add up to
// no more than `bound` (nats); always the surest one. The sum bounds how much these tokens tell about
// each other, which deciding them at once leaves out. Here `confidence` is the negative entropy.
// Source: EB-Sampler, "Accelerated Sampling from Masked Diffusion Models via Entropy Bounded
// Unmasking" (arXiv 2505.24857).
std::vector<size_t> within_entropy(std::span<const float> confidence, double bound);

// `count` draws without replacement from softmax(confidence / temperature), temperature > 0. Draw
// number r takes the uniform number uniform(r).
std::vector<size_t> draw_positions(std::span<const float> confidence, size_t count,
                                   double temperature, const std::function<float(size_t)>& uniform);

}  // namespace dunlin
