// How a text is cut into windows, which of its tokens are scored, and in which steps windows run.
#pragma once

#include <cstdint>
#include <vector>

#include "backend/api.h"
#include "base/result.h"

namespace dunlin {

struct WindowOptions {
  int64_t window = 512;  // tokens
  // Equal to `window`: windows lie side by side, and of each the second half is scored, as
  // llama-perplexity does it. Less: windows begin `stride` tokens apart and each scores its last
  // `stride` tokens, as llama-perplexity --ppl-stride does it. Its windows are longer than its -c,
  // by half a stride and for several sequences ("Calculation chunk" tells their size), and of them
  // only the first begins with the beginning-of-text token; here all do.
  int64_t stride = 512;
  int64_t most = -1;  // windows; -1: all there are
};

// Window number i is tokens [begin(i), begin(i) + window) of the text. Tokens from `first_scored`
// on are scored: token t by the logits of row t - 1. So a window has window - 1 rows; its last
// token is only looked for.
struct WindowPlan {
  int64_t window = 0;
  int64_t stride = 0;
  int64_t count = 0;
  int64_t first_scored = 0;  // within a window

  int64_t begin(int64_t i) const { return i * stride; }
  int64_t rows() const { return window - 1; }
  int64_t scored() const { return window - first_scored; }  // tokens of one window
};

// Errors (kind usage): a window without a token to score, a stride outside 1..window, a text of
// fewer tokens than one window. What remains behind the last whole window is left out.
Result<WindowPlan> plan_windows(int64_t tokens, const WindowOptions& options);

// Rows [begin, end) of one window in a step, those from `first_scored_row` on with logits.
struct WindowPiece {
  int64_t window = 0;  // number in its group
  int64_t begin = 0;
  int64_t end = 0;
  int64_t first_scored_row = 0;  // in [begin, end]

  int64_t rows() const { return end - begin; }
  int64_t scored() const { return end - first_scored_row; }
};

// The steps that compute a group of `windows` windows, at most limits.sequences: in order, each as
// full as the limits on rows and logit rows allow.
std::vector<std::vector<WindowPiece>> plan_window_steps(const WindowPlan& plan, int64_t windows,
                                                        const StepLimits& limits);

}  // namespace dunlin
