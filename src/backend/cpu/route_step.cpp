#include "backend/cpu/route_step.h"

#include <algorithm>

#include "backend/cpu/arena.h"
#include "backend/cpu/work_sizes.h"
#include "backend/reference/scalar.h"
#include "base/scalar_math.h"

namespace dunlin::cpu {

RouteStep::RouteStep(RouteSettings settings)
    : settings_(settings),
      prepared_bytes_(
          round_up(activation_bytes(Arithmetic::f32, kRowTile, settings.weight.layout.columns),
                   kCacheLine)) {}

// The linear's, then prepared rows, then the scores of a tile.
int64_t RouteStep::workspace_bytes() const {
  const int64_t scores = kRowTile * settings_.weight.layout.rows * int64_t{sizeof(float)};
  return kLinearWorkspaceBytes + prepared_bytes_ + scores;
}

void RouteStep::run(const RunContext& context) noexcept {
  const int64_t rows = settings_.rows.count(context.sizes());
  const int64_t tiles = (rows + kRowTile - 1) / kRowTile;
  const PackedLayout& layout = settings_.weight.layout;
  const int64_t work = std::min(rows, kRowTile) * layout.rows * layout.columns;
  for_tasks(context, tiles, work, [&](int64_t begin, int64_t end, int worker) {
    for (int64_t tile = begin; tile < end; ++tile) {
      const int64_t first = tile * kRowTile;
      run_tile(first, std::min(kRowTile, rows - first), context.workspace(worker));
    }
  });
}

std::optional<StepWork> RouteStep::work(const RunContext& context) const noexcept {
  const PackedLayout& layout = settings_.weight.layout;
  const auto rows = static_cast<double>(settings_.rows.count(context.sizes()));
  return StepWork{
      .bytes = rows > 0 ? static_cast<double>(layout.bytes()) : 0.0,
      .flops = 2 * rows * static_cast<double>(layout.rows) * static_cast<double>(layout.columns)};
}

void RouteStep::run_tile(int64_t first, int64_t rows, std::byte* workspace) const noexcept {
  const PackedLayout& layout = settings_.weight.layout;
  std::byte* const prepared = workspace + kLinearWorkspaceBytes;
  auto* const scores = reinterpret_cast<float*>(prepared + prepared_bytes_);
  PrepareArgs prepare{};
  prepare.x = settings_.x + first * layout.columns;
  prepare.x_stride = layout.columns;
  prepare.rows = rows;
  prepare.columns = layout.columns;
  prepare.row_end = rows;
  prepare.out = prepared;
  settings_.prepare.run(prepare);
  LinearArgs linear{};
  linear.weight = settings_.weight;
  linear.stripe_end = layout.stripes();
  linear.activations = prepared;
  linear.rows = rows;
  linear.row_end = rows;
  linear.y = scores;
  linear.y_stride = layout.rows;
  linear.bias = settings_.bias;
  linear.workspace = workspace;
  settings_.linear.run(linear);
  for (int64_t row = 0; row < rows; ++row) choose(first + row, scores + row * layout.rows);
}

// As reference::route(), over the kernel's candidates; `logits` are overwritten.
void RouteStep::choose(int64_t row, float* logits) const noexcept {
  const int64_t k = settings_.attributes.k;
  const int64_t experts = settings_.weight.layout.rows;
  float* const weights = settings_.weights + row * k;
  settings_.top_k.run(logits, experts, k, settings_.chosen + row * k, weights);
  const float largest = weights[0];
  for (int64_t j = 0; j < k; ++j) weights[j] = exp_f32(weights[j] - largest);
  float sum = 0.0f;
  if (settings_.attributes.softmax_first) {
    for (int64_t e = 0; e < experts; ++e) logits[e] = exp_f32(logits[e] - largest);
    sum = reference::lane_sum(logits, experts);
  } else {
    for (int64_t j = 0; j < k; ++j) sum = sum + weights[j];
  }
  for (int64_t j = 0; j < k; ++j) weights[j] = weights[j] / sum;
}

std::vector<std::pair<std::string, std::string>> RouteStep::kernels() const {
  return {{"route", settings_.linear.name}, {"route choice", settings_.top_k.name}};
}

}  // namespace dunlin::cpu
