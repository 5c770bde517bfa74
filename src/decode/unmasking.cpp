#include "decode/unmasking.h"

#include <algorithm>
#include <cmath>
#include <numeric>

namespace dunlin {

std::vector<size_t> surest(std::span<const float> confidence, size_t count) {
  std::vector<size_t> order(confidence.size());
  std::iota(order.begin(), order.end(), size_t{0});
  std::ranges::sort(order, [confidence](size_t a, size_t b) {
    return confidence[a] > confidence[b] || (confidence[a] == confidence[b] && a < b);
  });
  order.resize(std::min(count, order.size()));
  return order;
}

std::vector<size_t> above_threshold(std::span<const float> confidence, size_t most,
                                    float threshold) {
  std::vector<size_t> order = surest(confidence, most);
  size_t count = std::min<size_t>(1, order.size());
  while (count < order.size() && confidence[order[count]] >= threshold) ++count;
  order.resize(count);
  return order;
}

std::vector<size_t> within_entropy(std::span<const float> confidence, double bound) {
  std::vector<size_t> order = surest(confidence, confidence.size());
  size_t count = std::min<size_t>(1, order.size());
  // The largest entropy is that of the last one: the others come before it.
  double sum = 0.0;
  for (; count < order.size(); ++count) {
    // The p ln(p + 1e-10) of a sure token adds up to a little more than 0.
    sum += std::max(0.0, -static_cast<double>(confidence[order[count - 1]]));
    if (sum > bound) break;
  }
  order.resize(count);
  return order;
}

std::vector<size_t> draw_positions(std::span<const float> confidence, size_t count,
                                   double temperature,
                                   const std::function<float(size_t)>& uniform) {
  // In this order what has no weight left beside the rest (a tiny temperature) is drawn surest first.
  std::vector<size_t> rest = surest(confidence, confidence.size());
  std::vector<size_t> drawn;
  while (drawn.size() < count && !rest.empty()) {
    const double best = static_cast<double>(confidence[rest.front()]);
    const auto weight = [&](size_t i) {
      return std::exp((static_cast<double>(confidence[i]) - best) / temperature);
    };
    double mass = 0.0;
    for (const size_t i : rest) mass += weight(i);
    const double target = static_cast<double>(uniform(drawn.size())) * mass;
    double cumulative = 0.0;
    auto chosen = rest.begin();
    for (auto it = rest.begin(); it != rest.end(); ++it) {
      cumulative += weight(*it);
      chosen = it;
      if (cumulative > target) break;
    }
    drawn.push_back(*chosen);
    rest.erase(chosen);
  }
  return drawn;
}

}  // namespace dunlin
