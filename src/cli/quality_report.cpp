#include "cli/quality_report.h"

#include <fmt/format.h>

#include "cli/interrupt.h"
#include "cli/json_number.h"
#include "cli/read_input.h"
#include "cli/terminal.h"

namespace dunlin {
namespace {

using Json = nlohmann::ordered_json;

}  // namespace

Result<QualityReport> QualityReport::prepare(const std::string& reference,
                                             const std::string& text_path, int64_t chunks) {
  DUNLIN_ASSIGN_OR_RETURN(const std::string text, read_user_file(text_path, kMostCorpusBytes));
  DUNLIN_ASSIGN_OR_RETURN(Corpus corpus, encode_corpus(reference, text));
  const auto plan = plan_windows(std::ssize(corpus.ids), {.most = chunks});
  if (!plan.ok()) return plan.error().with_context(text_path);
  return QualityReport(reference, std::move(corpus), *plan);
}

Result<EvalResult> QualityReport::run(const std::string& model, int threads, bool quiet) const {
  ProgressBar bar(!quiet);
  ModelOptions options;
  options.threads = threads;
  options.progress = [&bar](double fraction, const std::string& what) {
    bar.update(fraction, what);
  };
  options = eval_model_options(std::move(options), plan_, corpus_.vocabulary);
  DUNLIN_ASSIGN_OR_RETURN(const auto written, load_model(model, options));
  DUNLIN_ASSIGN_OR_RETURN(const auto original, load_model(reference_, options));
  return evaluate(*written, original.get(), corpus_, plan_,
                  [&bar](const EvalProgress& progress) -> Result<void> {
                    bar.update(progress.fraction,
                               fmt::format("perplexity {:.4f}", progress.perplexity));
                    if (pending_interrupt() != 0) return runtime_error("interrupted");
                    return {};
                  });
}

nlohmann::ordered_json quality_json(const EvalResult& result) {
  return {{"perplexity", json_number(result.perplexity.value)},
          {"ref_perplexity", json_number(result.reference->perplexity.value)},
          {"tokens", result.tokens},
          {"kl_mean", json_number(result.reference->kl_mean)},
          {"kl_p99", json_number(result.reference->kl_p99)},
          {"top1_agreement", json_number(result.reference->top1_agreement)}};
}

std::string quality_text(const EvalResult& result) {
  return fmt::format(
      "perplexity  {:.4f} +/- {:.4f}, of the original {:.4f}\n"
      "KL          mean {:.6f}, 99 % below {:.6f} (nats per token, over {} tokens)\n"
      "top 1       the same best token in {:.2f} % of the places\n",
      result.perplexity.value, result.perplexity.error, result.reference->perplexity.value,
      result.reference->kl_mean, result.reference->kl_p99, result.tokens,
      100 * result.reference->top1_agreement);
}

}  // namespace dunlin
