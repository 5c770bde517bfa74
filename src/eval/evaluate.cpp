#include "eval/evaluate.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/thread_pool.h"
#include "eval/window_runner.h"

namespace dunlin {

namespace {

StepLimits common_limits(const Model& model, const Model* reference) {
  StepLimits limits = model.limits;
  if (reference == nullptr) return limits;
  limits.rows = std::min(limits.rows, reference->limits.rows);
  limits.logit_rows = std::min(limits.logit_rows, reference->limits.logit_rows);
  limits.sequences = std::min(limits.sequences, reference->limits.sequences);
  return limits;
}

class Evaluation {
 public:
  Evaluation(const Corpus& corpus, const WindowPlan& plan, StepLimits limits, WindowRunner model)
      : corpus_(corpus), plan_(plan), limits_(limits), model_(std::move(model)) {}

  // `threads` share the divergences of a step.
  Result<void> add_reference(Model& reference, int threads) {
    DUNLIN_ASSIGN_OR_RETURN(reference_, WindowRunner::create(reference));
    DUNLIN_ASSIGN_OR_RETURN(pool_, ThreadPool::create(threads));
    return {};
  }

  Result<void> run(const std::function<Result<void>(const EvalProgress&)>& after_step) {
    const int64_t all = plan_.count * plan_.rows();
    int64_t rows = 0;
    for (int64_t first = 0; first < plan_.count; first += limits_.sequences) {
      const int64_t windows = std::min(limits_.sequences, plan_.count - first);
      DUNLIN_RETURN_IF_ERROR(model_.begin(windows));
      if (reference_) DUNLIN_RETURN_IF_ERROR(reference_->begin(windows));
      for (const auto& step : plan_window_steps(plan_, windows, limits_)) {
        DUNLIN_RETURN_IF_ERROR(run_step(first, step));
        for (const WindowPiece& piece : step) rows += piece.rows();
        DUNLIN_RETURN_IF_ERROR(after_step({static_cast<double>(rows) / static_cast<double>(all),
                                           perplexity_of(likelihoods_).value}));
      }
    }
    return {};
  }

  EvalResult result() const {
    EvalResult result{.perplexity = perplexity_of(likelihoods_), .tokens = likelihoods_.count()};
    if (!reference_) return result;
    RunningMean mean;
    for (const float value : divergences_) mean.add(static_cast<double>(value));
    result.reference = {.perplexity = perplexity_of(reference_likelihoods_),
                        .kl_mean = mean.mean(),
                        .kl_p99 = quantile(divergences_, 0.99),
                        .top1_agreement = static_cast<double>(same_best_) /
                                          static_cast<double>(likelihoods_.count())};
    return result;
  }

 private:
  // Token `at` of the text, as window number `window` sees it.
  int32_t token(int64_t window, int64_t at) const {
    if (corpus_.bos && at == plan_.begin(window)) return *corpus_.bos;
    return corpus_.ids[static_cast<size_t>(at)];
  }

  Result<void> run_step(int64_t first, const std::vector<WindowPiece>& step) {
    std::vector<int32_t> tokens;
    targets_.clear();
    for (const WindowPiece& piece : step) {
      const int64_t window = first + piece.window;
      for (int64_t row = piece.begin; row < piece.end; ++row) {
        tokens.push_back(token(window, plan_.begin(window) + row));
        if (row >= piece.first_scored_row)
          targets_.push_back({window, plan_.begin(window) + row + 1});
      }
    }
    DUNLIN_ASSIGN_OR_RETURN(const StepOutput* output, model_.run(step, tokens));
    DUNLIN_RETURN_IF_ERROR(score(output->logits, "the model", likelihoods_));
    if (!reference_) return {};
    DUNLIN_ASSIGN_OR_RETURN(const StepOutput* other, reference_->run(step, tokens));
    DUNLIN_RETURN_IF_ERROR(score(other->logits, "the reference", reference_likelihoods_));
    compare(other->logits, output->logits);
    return {};
  }

  Result<void> score(const std::vector<LogitsView>& rows, const char* whose, RunningMean& into) {
    for (size_t i = 0; i < rows.size(); ++i) {
      const Target& target = targets_[i];
      if (!rows[i].finite) {
        return runtime_error(fmt::format(
            "window {}, token {} of the text: the logits of {} are not finite; --watch '*' --until "
            "nonfinite names the first node",
            target.window + 1, target.token, whose));
      }
      const int32_t id = corpus_.ids[static_cast<size_t>(target.token)];
      into.add(negative_log_likelihood(rows[i], id));
    }
    return {};
  }

  void compare(const std::vector<LogitsView>& reference, const std::vector<LogitsView>& model) {
    const size_t done = divergences_.size();
    divergences_.resize(done + model.size());
    pool_->parallel_for(std::ssize(model), 1, [&](int64_t begin, int64_t end, int /*worker*/) {
      for (auto i = static_cast<size_t>(begin); i < static_cast<size_t>(end); ++i)
        divergences_[done + i] = static_cast<float>(kl_divergence(reference[i].row, model[i].row));
    });
    for (size_t i = 0; i < model.size(); ++i) same_best_ += same_best(reference[i], model[i]);
  }

  // A token that is scored, and the window it is scored in.
  struct Target {
    int64_t window;
    int64_t token;
  };

  const Corpus& corpus_;
  const WindowPlan& plan_;
  StepLimits limits_;
  WindowRunner model_;
  std::optional<WindowRunner> reference_;
  std::unique_ptr<ThreadPool> pool_;
  std::vector<Target> targets_;  // of a step
  RunningMean likelihoods_;      // -ln p
  RunningMean reference_likelihoods_;
  std::vector<float> divergences_;  // by scored token
  int64_t same_best_ = 0;
};

}  // namespace

ModelOptions eval_model_options(ModelOptions options, const WindowPlan& plan, int64_t vocabulary) {
  const int64_t row_bytes = vocabulary * static_cast<int64_t>(sizeof(float));
  options.context = plan.window;
  options.sequences = std::clamp<int64_t>(options.rows / plan.rows(), 1, plan.count);
  options.rows = std::min(options.rows, options.sequences * plan.rows());
  options.logit_rows = std::clamp<int64_t>(kLogitsBytes / row_bytes, 1, options.rows);
  options.logits_view_k = 1;
  options.autoregressive_for = kScoring;
  return options;
}

Result<EvalResult> evaluate(Model& model, Model* reference, const Corpus& corpus,
                            const WindowPlan& plan,
                            const std::function<Result<void>(const EvalProgress&)>& after_step) {
  DUNLIN_ASSIGN_OR_RETURN(WindowRunner runner, WindowRunner::create(model));
  Evaluation evaluation(corpus, plan, common_limits(model, reference), std::move(runner));
  if (reference != nullptr)
    DUNLIN_RETURN_IF_ERROR(evaluation.add_reference(*reference, model.executable->threads()));
  DUNLIN_RETURN_IF_ERROR(evaluation.run(after_step));
  return evaluation.result();
}

}  // namespace dunlin
