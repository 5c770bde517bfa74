// logits_view: statistics and candidates of each row of logits.
#include "backend/cpu/bind.h"
#include "backend/cpu/select.h"

namespace dunlin::cpu {

namespace {

struct LogitsSettings {
  Kernel<LogitStatisticsFunction> statistics_kernel;
  Kernel<TopKFunction> top_k_kernel;
  LeadingRows rows;
  int64_t vocabulary;
  int64_t k;
  const float* logits;        // [R,V]
  const float* temperatures;  // [R]
  float* statistics;          // [R,5]
  int32_t* ids;               // [R,k]
  float* best;                // [R,k]
};

class LogitsStep final : public BoundStep {
 public:
  explicit LogitsStep(const LogitsSettings& settings) : s_(settings) {}

  // Two tasks per row, which a single row's two threads share.
  void run(const RunContext& context) noexcept override {
    for_tasks(context, 2 * s_.rows.count(context.sizes()), 4 * s_.vocabulary,
              [&](int64_t begin, int64_t end, int worker) {
                for (int64_t task = begin; task < end; ++task) {
                  if (task % 2 == 0) {
                    find_statistics(task / 2, reinterpret_cast<float*>(context.workspace(worker)));
                  } else {
                    find_candidates(task / 2);
                  }
                }
              });
  }

  int64_t workspace_bytes() const override {
    return s_.vocabulary * static_cast<int64_t>(sizeof(float));
  }

  std::vector<std::pair<std::string, std::string>> kernels() const override {
    return {{"logits_view statistics", s_.statistics_kernel.name},
            {"logits_view candidates", s_.top_k_kernel.name}};
  }

 private:
  void find_candidates(int64_t row) const noexcept {
    s_.top_k_kernel.run(s_.logits + row * s_.vocabulary, s_.vocabulary, s_.k, s_.ids + row * s_.k,
                        s_.best + row * s_.k);
  }

  // `scaled` holds a row.
  void find_statistics(int64_t row, float* scaled) const noexcept {
    const float* logits = s_.logits + row * s_.vocabulary;
    LogitStatistics at_one{};
    s_.statistics_kernel.run(logits, s_.vocabulary, &at_one);
    float lse_temperature = at_one.log_sum_exp;
    const float temperature = s_.temperatures[row];
    if (at_one.finite && temperature > 0.0f && temperature != 1.0f) {
      for (int64_t i = 0; i < s_.vocabulary; ++i) scaled[i] = logits[i] / temperature;
      LogitStatistics at_temperature{};
      s_.statistics_kernel.run(scaled, s_.vocabulary, &at_temperature);
      lse_temperature = at_temperature.log_sum_exp;
    }
    float* to = s_.statistics + row * kLogitStatistics;
    to[0] = at_one.log_sum_exp;
    to[1] = lse_temperature;
    to[2] = at_one.entropy;
    to[3] = at_one.varentropy;
    to[4] = at_one.finite ? 1.0f : 0.0f;
  }

  LogitsSettings s_;
};

}  // namespace

std::unique_ptr<BoundStep> bind_logits_view(const Binding& binding, const Node& node) {
  const Dims& dims = binding.program.type(node.operands[0]).dims;
  return std::make_unique<LogitsStep>(LogitsSettings{
      binding.kernels.logit_statistics, binding.kernels.top_k, *leading_rows(dims, 1),
      dims.back().size, std::get<LogitsViewAttributes>(node.attributes).k,
      binding.f32(node.operands[0]), binding.f32(node.operands[1]), binding.f32(node.results[0]),
      binding.i32(node.results[1]), binding.f32(node.results[2])});
}

}  // namespace dunlin::cpu
