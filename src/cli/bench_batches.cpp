#include "cli/bench_batches.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "backend/cpu/cpu_backend.h"
#include "cli/bench_model.h"
#include "cli/plan_output.h"
#include "cli/plan_source.h"
#include "cli/this_cpu.h"
#include "models/registry.h"

namespace dunlin {
namespace {

constexpr int64_t kLargestBatch = 1024;  // of --parallel

// Of a model of the CPU back end: the error where it needs more than there is.
Result<void> check_memory(const std::string& path, const ModelOptions& options) {
  DUNLIN_ASSIGN_OR_RETURN(const PlanSource source,
                          open_plan_source(path, options.layers, options.quantize));
  DUNLIN_ASSIGN_OR_RETURN(const auto diffusion, diffusion_of(source.config));
  DUNLIN_ASSIGN_OR_RETURN(const StepLimits limits,
                          step_limits(options, source.trained_context, diffusion.has_value()));
  const CompileOptions compile{.precision = options.precision,
                               .kv_type = options.kv_type,
                               .limits = limits,
                               .threads = options.threads,
                               .isa = options.isa,
                               .disabled = options.disabled};
  std::vector<int64_t> pages;
  for (const KvGroup& group : source.program.kv_groups)
    pages.push_back(kv_pages(group, compile.limits) * options.sequences);
  DUNLIN_ASSIGN_OR_RETURN(
      const Footprint footprint,
      make_cpu_backend()->footprint(source.program, source.weights, compile, pages));
  // Mapped weights take what memory there is left.
  const uint64_t elsewhere = options.offload ? footprint.weights : 0;
  const auto needed = static_cast<double>(footprint.running() - elsewhere + footprint.loading);
  const auto there = static_cast<double>(available_bytes());
  if (needed <= there) return {};
  return Error{ErrorKind::does_not_fit, fmt::format("needs {} of memory, and {} are free",
                                                    bytes_text(needed), bytes_text(there))};
}

Result<std::unique_ptr<Model>> load_and_prepare(
    const std::string& path, const ModelOptions& options,
    const std::function<Result<void>(Model&)>& prepare) {
  if (options.backend == "cpu") DUNLIN_RETURN_IF_ERROR(check_memory(path, options));
  DUNLIN_ASSIGN_OR_RETURN(std::unique_ptr<Model> model, load_model(path, options));
  DUNLIN_RETURN_IF_ERROR(prepare(*model));
  return model;
}

}  // namespace

Check batch_list() {
  return {[](const std::string& text) -> std::string {
    const auto values = parse_bench_list(text);
    if (!values.ok()) return values.error().message;
    for (const int64_t each : *values) {
      if (each < 1 || each > kLargestBatch)
        return fmt::format("{} is outside 1..{}", each, kLargestBatch);
    }
    return {};
  }};
}

Result<std::vector<int64_t>> parse_batches(const std::vector<std::string>& texts,
                                           std::vector<int64_t> fallback) {
  if (texts.empty()) return fallback;
  std::vector<int64_t> batches;
  for (const std::string& text : texts) {
    DUNLIN_ASSIGN_OR_RETURN(const auto more, parse_bench_list(text));
    batches.insert(batches.end(), more.begin(), more.end());
  }
  std::ranges::sort(batches);
  const auto repeated = std::ranges::unique(batches);
  batches.erase(repeated.begin(), repeated.end());
  return batches;
}

Result<BatchModel> load_for_batches(const std::string& path, std::vector<int64_t> batches,
                                    const std::function<ModelOptions(int64_t batch)>& options,
                                    const std::function<Result<void>(Model&)>& prepare) {
  BatchModel result;
  result.batches = std::move(batches);
  Error last = out_of_memory();
  while (!result.batches.empty()) {
    const int64_t batch = result.batches.back();
    auto loaded = load_and_prepare(path, options(batch), prepare);
    if (loaded.ok()) {
      result.model = std::move(loaded).value();
      return result;
    }
    if (loaded.error().kind != ErrorKind::does_not_fit) return loaded.error();
    last = loaded.error();
    result.issues.insert(result.issues.begin(),
                         fmt::format("batch {} does not fit: {}", batch, last.message));
    result.batches.pop_back();
  }
  return last.with_context(path);
}

}  // namespace dunlin
