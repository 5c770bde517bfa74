// The definitions are llama.cpp's tools/perplexity (0.5.0): with chunks of W, rows W/2 to W-2 are
// scored; with a stride S, rows W-S-1 to W-2.
#include "eval/windows.h"

#include <fmt/format.h>

#include <algorithm>

namespace dunlin {

Result<WindowPlan> plan_windows(int64_t tokens, const WindowOptions& options) {
  const int64_t window = options.window;
  if (window < 3)
    return usage_error(fmt::format("a window of {} tokens: at least 3 are needed", window));
  if (options.stride < 1 || options.stride > window) {
    return usage_error(
        fmt::format("a stride of {} is outside 1..{} (the window)", options.stride, window));
  }
  if (options.most == 0) return usage_error("no window to score");
  if (tokens < window) {
    return usage_error(
        fmt::format("the text has {} tokens, fewer than one window of {}; a longer text or a "
                    "smaller --window is needed",
                    tokens, window));
  }
  WindowPlan plan{.window = window, .stride = options.stride};
  plan.first_scored = plan.stride == window ? window / 2 + 1 : window - plan.stride;
  plan.count = (tokens - window) / plan.stride + 1;
  if (options.most >= 0) plan.count = std::min(plan.count, options.most);
  return plan;
}

std::vector<std::vector<WindowPiece>> plan_window_steps(const WindowPlan& plan, int64_t windows,
                                                        const StepLimits& limits) {
  std::vector<std::vector<WindowPiece>> steps(1);
  int64_t rows_left = limits.rows;
  int64_t logits_left = limits.logit_rows;
  const int64_t first_scored_row = plan.first_scored - 1;
  for (int64_t window = 0; window < windows; ++window) {
    int64_t begin = 0;
    while (begin < plan.rows()) {
      // Rows before the first scored one are bounded by the step's rows alone.
      const int64_t unscored = std::max<int64_t>(0, first_scored_row - begin);
      const int64_t rows = std::min({rows_left, unscored + logits_left, plan.rows() - begin});
      if (rows == 0) {
        steps.emplace_back();
        rows_left = limits.rows;
        logits_left = limits.logit_rows;
        continue;
      }
      const int64_t end = begin + rows;
      const WindowPiece piece{window, begin, end, std::clamp(first_scored_row, begin, end)};
      steps.back().push_back(piece);
      rows_left -= rows;
      logits_left -= piece.scored();
      begin = end;
    }
  }
  return steps;
}

}  // namespace dunlin
