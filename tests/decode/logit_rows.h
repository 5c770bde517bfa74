// Rows of logits as an executable gives them, for tests.
#pragma once

#include <algorithm>
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
  }
  LogitsView view() const { return {.ids = ids, .logits = best, .row = row}; }

  std::vector<float> row;
  std::vector<int32_t> ids = {};
  std::vector<float> best = {};
};

}  // namespace dunlin
