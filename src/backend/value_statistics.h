// Statistics of a value between operations, and conditions on them.
#pragma once

#include <cstdint>
#include <string>

#include "base/result.h"
#include "tensor/view.h"

namespace dunlin {

// Over the finite elements, but for `count` and `nonfinite`; 0 where there is none.
struct ValueStatistics {
  int64_t count = 0;      // elements
  int64_t nonfinite = 0;  // of them NaN or infinite
  double min = 0;
  double max = 0;
  double absmax = 0;
  double mean = 0;
  double rms = 0;  // sqrt of the mean square
};

ValueStatistics statistics_of(const View& view);

// "nonfinite": some element is NaN or infinite. Or a statistic, a comparison and a number, as in
// absmax>1e4, rms<=0.1, nonfinite>=3; such a condition also holds where an element is not finite,
// which no bound on the others would show.
class WatchCondition {
 public:
  // Errors (kind usage) list the statistics and comparisons there are.
  static Result<WatchCondition> parse(const std::string& text);

  bool holds(const ValueStatistics& statistics) const;
  // The statistic it looks at, by name and value: "absmax 12345.6".
  std::string reading(const ValueStatistics& statistics) const;
  const std::string& text() const { return text_; }

 private:
  enum class Comparison : uint8_t { greater, greater_equal, less, less_equal };
  struct Statistic;

  static const Statistic* find_statistic(const std::string& name);

  std::string text_;
  const Statistic* statistic_ = nullptr;
  Comparison comparison_ = Comparison::greater;
  double bound_ = 0;
};

}  // namespace dunlin
