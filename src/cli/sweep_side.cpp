#include "cli/sweep_side.h"

#include <fmt/format.h>

namespace dunlin {

std::string side_name(const ModelOptions& options) {
  return fmt::format(
      "{}{} {}{}", options.backend, options.device.empty() ? "" : ":" + options.device,
      precision_name(options.precision), options.kv_type == KvType::int8 ? " kv int8" : "");
}

Result<std::unique_ptr<RunningSide>> RunningSide::create(const std::string& path,
                                                         const ModelOptions& options,
                                                         const std::vector<int64_t>& batches,
                                                         const GenerationShape& shape,
                                                         bool diffusion) {
  std::unique_ptr<RunningSide> side(new RunningSide());
  DUNLIN_ASSIGN_OR_RETURN(
      side->batches_,
      load_for_batches(
          path, batches,
          [&](int64_t batch) { return generation_options(options, shape, batch, diffusion); },
          [&](Model& model) { return side->make_bench(model, shape); }));
  const Model& model = *side->batches_.model;
  side->measured_ = {.name = side_name(options),
                     .backend = model.options.backend,
                     .isa = model.executable->isa(),
                     .precision = precision_name(model.options.precision),
                     .kv_type = kv_type_name(*model.options.kv_type),
                     .formats = format_summary(*model.checkpoint),
                     .threads = model.executable->threads(),
                     .load_seconds = model.load_ms / 1e3,
                     .issues = side->batches_.issues};
  return side;
}

Result<void> RunningSide::make_bench(Model& model, const GenerationShape& shape) {
  bench_.reset();
  DUNLIN_ASSIGN_OR_RETURN(bench_, make_generation_bench(model, shape));
  return {};
}

bool RunningSide::holds(int64_t batch) const {
  return !ended_ && !batches_.batches.empty() && batch <= batches_.batches.back();
}

Result<void> RunningSide::begin(int64_t batch) {
  row_ = SweepRow{.batch = batch};
  const auto first = run();
  if (!first.ok()) return first.error();
  if (*first) row_.first_seconds = last_.seconds;
  return {};
}

Result<void> RunningSide::measure() {
  if (ended_) return {};
  const auto ran = run();
  if (!ran.ok()) return ran.error();
  if (*ran) row_.seconds.push_back(last_.seconds);
  return {};
}

const SweepRow* RunningSide::finish() {
  if (ended_ || row_.seconds.empty()) return nullptr;
  row_.tokens = last_.tokens;
  row_.tokens_per_forward = last_.tokens_per_forward;
  measured_.rows.push_back(row_);
  return &measured_.rows.back();
}

Result<bool> RunningSide::run() {
  const auto generation = bench_->run(row_.batch);
  if (generation.ok()) {
    last_ = *generation;
    return true;
  }
  if (generation.error().kind != ErrorKind::does_not_fit || measured_.rows.empty())
    return generation.error();
  ended_ = true;
  measured_.issues.push_back(
      fmt::format("batch {} does not fit: {}", row_.batch, generation.error().message));
  return false;
}

}  // namespace dunlin
