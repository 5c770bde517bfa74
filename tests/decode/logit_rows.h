// Rows of logits as an executable gives them, for tests.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <numeric>
#include <vector>

#include "step/step.h"

namespace dunlin {

struct LogitRow {
  explicit LogitRow(std::vector<float> logits, size_t candidates = 4) : row(std::move(logits)) {
    std::vector<int32_t> order(row.size());
    std::iota(order.begin(), order.end(), 0);
    std::ranges::sort(order, [this](int32_t a, int32_t b) {
      const float x = row[static_cast<size_t>(a)];
      const float y = row[static_cast<size_t>(b)];
      return x > y || (x == y && a < b);
    });
    order.resize(std::min(candidates, order.size()));
    ids = order;
    for (const int32_t id : ids) best.push_back(row[static_cast<size_t>(id)]);
    add_statistics();
  }
  LogitsView view() const {
    return {.lse = lse, .entropy = entropy, .ids = ids, .logits = best, .row = row};
  }

  std::vector<float> row;
  std::vector<int32_t> ids = {};
  std::vector<float> best = {};
  float lse = 0, entropy = 0;

 private:
  void add_statistics() {
    double sum = 0.0, weighted = 0.0;
    for (const float logit : row) {
      const double weight = std::exp(static_cast<double>(logit));
      sum += weight;
      if (weight > 0.0) weighted += weight * static_cast<double>(logit);
    }
    lse = static_cast<float>(std::log(sum));
    entropy = static_cast<float>(std::log(sum) - weighted / sum);
  }
};

}  // namespace dunlin
