// How far a model that was written is from the one it was made of, over a text.
#pragma once

#include <cstdint>
#include <nlohmann/json.hpp>
#include <string>

#include "base/result.h"
#include "eval/evaluate.h"

namespace dunlin {

class QualityReport {
 public:
  // Reads the text and cuts it into windows of 512 tokens, the first `chunks` of them (-1: all). The
  // weights of `reference` are not read. Errors: the text or the model cannot be read, the model has
  // no tokenizer, a text of less than one window.
  static Result<QualityReport> prepare(const std::string& reference, const std::string& text_path,
                                       int64_t chunks);

  // Loads both and compares them: what `dunlin eval MODEL TEXT --ref REFERENCE` measures.
  // `threads`: 0: one per core. A signal ends it with an error; pending_interrupt() says which.
  Result<EvalResult> run(const std::string& model, int threads, bool quiet) const;

 private:
  QualityReport(std::string reference, Corpus corpus, WindowPlan plan)
      : reference_(std::move(reference)), corpus_(std::move(corpus)), plan_(plan) {}

  std::string reference_;
  Corpus corpus_;
  WindowPlan plan_;
};

nlohmann::ordered_json quality_json(const EvalResult& result);
std::string quality_text(const EvalResult& result);

}  // namespace dunlin
