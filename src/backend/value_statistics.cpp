// One pass in double; conditions by a table of statistics.
#include "backend/value_statistics.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <cmath>

namespace dunlin {

namespace {

template <typename T>
ValueStatistics statistics_of_elements(const T* elements, int64_t count) {
  ValueStatistics result{.count = count};
  double sum = 0;
  double squares = 0;
  int64_t finite = 0;
  for (int64_t i = 0; i < count; ++i) {
    const auto x = static_cast<double>(elements[i]);
    if (!std::isfinite(x)) continue;
    result.min = finite == 0 ? x : std::min(result.min, x);
    result.max = finite == 0 ? x : std::max(result.max, x);
    sum += x;
    squares += x * x;
    ++finite;
  }
  result.nonfinite = count - finite;
  if (finite == 0) return result;
  result.absmax = std::max(std::abs(result.min), std::abs(result.max));
  result.mean = sum / static_cast<double>(finite);
  result.rms = std::sqrt(squares / static_cast<double>(finite));
  return result;
}

}  // namespace

ValueStatistics statistics_of(const View& view) {
  const int64_t count = element_count(view.shape);
  switch (view.dtype) {
    case DType::f32:
      return statistics_of_elements(view.f32(), count);
    case DType::i32:
      return statistics_of_elements(view.i32(), count);
    case DType::boolean:
      break;
  }
  return statistics_of_elements(static_cast<const uint8_t*>(view.data), count);
}

struct WatchCondition::Statistic {
  const char* name;
  double (*of)(const ValueStatistics& statistics);
};

const WatchCondition::Statistic* WatchCondition::find_statistic(const std::string& name) {
  static constexpr Statistic kStatistics[] = {
      {"min", [](const ValueStatistics& s) { return s.min; }},
      {"max", [](const ValueStatistics& s) { return s.max; }},
      {"absmax", [](const ValueStatistics& s) { return s.absmax; }},
      {"mean", [](const ValueStatistics& s) { return s.mean; }},
      {"rms", [](const ValueStatistics& s) { return s.rms; }},
      {"nonfinite", [](const ValueStatistics& s) { return static_cast<double>(s.nonfinite); }},
  };
  const auto* const found = std::ranges::find(kStatistics, name, &Statistic::name);
  return found == std::end(kStatistics) ? nullptr : found;
}

Result<WatchCondition> WatchCondition::parse(const std::string& text) {
  const Error wrong = usage_error(fmt::format(
      "\"{}\" is no condition: nonfinite, or one of min max absmax mean rms nonfinite, then one of "
      "> >= < <=, then a number, as in absmax>1e4",
      text));
  WatchCondition condition;
  condition.text_ = text;
  const size_t at = text.find_first_of("<>");
  condition.statistic_ = find_statistic(text.substr(0, at));
  if (condition.statistic_ == nullptr) return wrong;
  if (at == std::string::npos) {
    if (text != "nonfinite") return wrong;
    return condition;  // nonfinite > 0
  }
  const bool or_equal = text.compare(at + 1, 1, "=") == 0;
  if (text[at] == '>') {
    condition.comparison_ = or_equal ? Comparison::greater_equal : Comparison::greater;
  } else {
    condition.comparison_ = or_equal ? Comparison::less_equal : Comparison::less;
  }
  const char* const number = text.data() + at + (or_equal ? 2 : 1);
  const char* const end = text.data() + text.size();
  const auto [after, error] = std::from_chars(number, end, condition.bound_);
  if (error != std::errc() || after != end || !std::isfinite(condition.bound_)) return wrong;
  return condition;
}

bool WatchCondition::holds(const ValueStatistics& statistics) const {
  if (statistics.count == 0) return false;
  if (statistics.nonfinite > 0 && statistic_ != find_statistic("nonfinite")) return true;
  const double value = statistic_->of(statistics);
  switch (comparison_) {
    case Comparison::greater:
      return value > bound_;
    case Comparison::greater_equal:
      return value >= bound_;
    case Comparison::less:
      return value < bound_;
    case Comparison::less_equal:
      break;
  }
  return value <= bound_;
}

std::string WatchCondition::reading(const ValueStatistics& statistics) const {
  const std::string others =
      statistics.nonfinite > 0
          ? fmt::format(" ({} of {} values are not finite)", statistics.nonfinite, statistics.count)
          : std::string();
  return fmt::format("{} {:.6g}{}", statistic_->name, statistic_->of(statistics), others);
}

}  // namespace dunlin
