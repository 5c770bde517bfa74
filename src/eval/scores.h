// Scores of distributions over the vocabulary, as pure functions over logits. Natural logarithms;
// sums in double.
//
// Perplexity is exp of the mean of -ln p(token). Its error is that of the mean, one standard
// deviation of a sum of independent terms, carried through exp: exp(mean) sqrt((mean of squares -
// mean^2) / (n - 1)), which is llama-perplexity's.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "step/step.h"

namespace dunlin {

// -ln p(token) of a finite row, by its log-sum-exp; infinite where the logit is -infinity. `token`
// is within the row.
double negative_log_likelihood(const LogitsView& view, int32_t token);

// KL(reference || model) = sum over the tokens of p_ref (ln p_ref - ln p_model), of two finite rows
// of the same length. Not negative but for rounding (1e-8 or so), infinite where the model excludes
// what the reference allows.
double kl_divergence(std::span<const float> reference, std::span<const float> model);

// Whether both have the same best token, ties by the lowest id; the views hold a candidate.
bool same_best(const LogitsView& a, const LogitsView& b);

// Mean and its error of values that come one by one.
class RunningMean {
 public:
  void add(double value);

  int64_t count() const { return count_; }
  double mean() const;   // 0 without values
  double error() const;  // of the mean; 0 for fewer than two values

 private:
  int64_t count_ = 0;
  double sum_ = 0;
  double squares_ = 0;
};

struct Perplexity {
  double value;
  double error;
};
Perplexity perplexity_of(const RunningMean& negative_log_likelihoods);

// The value below which `fraction` (0 to 1) of them lie, linear between neighbours (the default of
// numpy.percentile). `values` is not empty.
double quantile(std::vector<float> values, double fraction);

}  // namespace dunlin
