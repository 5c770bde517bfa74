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

// `count` draws without replacement from softmax(confidence / temperature), temperature > 0. Draw
// number r takes the uniform number uniform(r).
std::vector<size_t> draw_positions(std::span<const float> confidence, size_t count,
                                   double temperature, const std::function<float(size_t)>& uniform);

}  // namespace dunlin
