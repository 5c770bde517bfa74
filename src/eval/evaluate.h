// evaluate(): the perplexity of a model over a text and, with a reference model, how far their
// distributions are apart.
//
// Model and reference run side by side, step by step. The alternative, storing the reference's
// distributions, is bytes on a disk: 59,415 scored tokens times 49,152 logits in half precision
// are 5.8 GB for a text of 479 kB. Side by side, memory is two models and the logits of one step
// each (kLogitsBytes), whatever the text's length.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>

#include "base/result.h"
#include "engine/model.h"
#include "eval/corpus.h"
#include "eval/scores.h"
#include "eval/windows.h"

namespace dunlin {

// Logits of one step are no more than this, one row at least.
inline constexpr int64_t kLogitsBytes = int64_t{256} << 20;

// `options` with what evaluate() needs of a model: the context of a window, as many sequences at a
// time as options.rows has room for, and the logits of as many rows as fit.
ModelOptions eval_model_options(ModelOptions options, const WindowPlan& plan, int64_t vocabulary);

struct EvalProgress {
  double fraction = 0;    // of all rows
  double perplexity = 0;  // so far
};

struct EvalResult {
  Perplexity perplexity = {};
  int64_t tokens = 0;  // scored
  struct AgainstReference {
    Perplexity perplexity = {};  // the reference's own
    double kl_mean = 0;          // KL(reference || model), nats per token
    double kl_p99 = 0;
    double top1_agreement = 0;  // fraction of the tokens where both have the same best candidate
  };
  std::optional<AgainstReference> reference = {};
};

// Runs `plan` over the corpus. The models were loaded with eval_model_options() for it;
// `reference` may be null. `after_step` is called after every step; its error ends the evaluation
// and is returned. Errors of kind runtime: logits that are not finite, by window and token.
Result<EvalResult> evaluate(Model& model, Model* reference, const Corpus& corpus,
                            const WindowPlan& plan,
                            const std::function<Result<void>(const EvalProgress&)>& after_step);

}  // namespace dunlin
