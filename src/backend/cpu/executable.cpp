// Compile: fuse, pack, plan memory, bind. Run: inputs, page moves, steps, outputs.
#include "backend/cpu/executable.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstring>

#include "backend/cpu/memory_budget.h"
#include "backend/cpu/memory_plan.h"
#include "backend/cpu/offloaded_step.h"
#include "backend/cpu/optimizations.h"
#include "backend/cpu/select.h"

namespace dunlin::cpu {

namespace {

// `values`, or `count` times `otherwise` where it is empty.
void copy_or_fill(const std::vector<float>& values, int64_t count, float otherwise, float* to) {
  if (values.empty()) {
    std::fill_n(to, count, otherwise);
  } else {
    std::ranges::copy(values, to);
  }
}

}  // namespace

CpuExecutable::CpuExecutable(Program program, const CompileOptions& options, Isa isa,
                             KvType kv_type)
    : program_(std::move(program)),
      options_(options),
      isa_(isa_name(isa)),
      kv_type_(kv_type),
      kernels_(enabled_kernels(isa, options)),
      tables_(options.limits) {}

Result<std::unique_ptr<CpuExecutable>> CpuExecutable::create(const Program& program,
                                                             const WeightSource& source,
                                                             const CompileOptions& options,
                                                             Isa isa) {
  DUNLIN_ASSIGN_OR_RETURN(const KvType kv_type, kv_type_of(options.precision, options.kv_type));
  auto executable =
      std::unique_ptr<CpuExecutable>(new CpuExecutable(program, options, isa, kv_type));
  DUNLIN_RETURN_IF_ERROR(executable->compile(source));
  return executable;
}

Result<Footprint> CpuExecutable::footprint(const Program& program, const WeightSource& source,
                                           const CompileOptions& options, Isa isa,
                                           const std::vector<int64_t>& pages_per_group) {
  DUNLIN_ASSIGN_OR_RETURN(const KvType kv_type, kv_type_of(options.precision, options.kv_type));
  CpuExecutable plan(program, options, isa, kv_type);
  const std::vector<FusedStep> fused = fuse(plan.program_, plan.options_.disabled);
  DUNLIN_ASSIGN_OR_RETURN(plan.weights_,
                          Weights::lay_out(plan.program_, fused, source, plan.options_));
  DUNLIN_ASSIGN_OR_RETURN(const std::vector<uint64_t> reference,
                          ReferenceRunner::footprint(plan.program_, fused, source, plan.options_));
  plan.binding_ = std::make_unique<Binding>(
      Binding{plan.program_, plan.options_, plan.kernels_, plan.weights_, plan.kv_type_, {}});
  plan.binding_->addresses.assign(plan.program_.values.size(), nullptr);
  plan.bind_steps(fused);
  Footprint footprint;
  footprint.weights = plan.weights_.bytes();
  footprint.by_weight = plan.weights_.bytes_by_weight();
  for (size_t i = 0; i < reference.size(); ++i) {
    footprint.weights += reference[i];
    footprint.by_weight[i] += reference[i];
  }
  footprint.loading = static_cast<uint64_t>(plan.weights_.loading_bytes(options.threads));
  footprint.activations = static_cast<uint64_t>(
      plan_memory(plan.program_, fused, options.limits, options.enabled(kMemoryReuse)).bytes);
  footprint.workspace = static_cast<uint64_t>(plan.plan_scratch());
  DUNLIN_ASSIGN_OR_RETURN(
      footprint.kv, CpuKvState::bytes_of(plan.program_.kv_groups, pages_per_group, plan.kv_type_));
  return footprint;
}

Result<void> CpuExecutable::compile(const WeightSource& source) {
  const FlushToZero flush_to_zero;
  DUNLIN_ASSIGN_OR_RETURN(pool_, ThreadPool::create(options_.threads));
  fused_ = fuse(program_, options_.disabled);
  // What is wrong with the budget is told before the weights are packed.
  if (options_.offload.on) DUNLIN_RETURN_IF_ERROR(weights_budget(options_.offload.other_bytes));
  DUNLIN_RETURN_IF_ERROR(tune_memory(source));
  const Pages pages = memory_.tuning.huge_pages ? Pages::huge : Pages::small;
  DUNLIN_ASSIGN_OR_RETURN(weights_,
                          Weights::load(program_, fused_, source, options_, *pool_, pages));
  options_.store.reset();  // it is of one loading
  // Pages of an arena that are given back are not read again: they are zeros.
  if (options_.offload.on && !weights_.mapped())
    return usage_error("--offload needs weights that are mapped");
  DUNLIN_ASSIGN_OR_RETURN(reference_, ReferenceRunner::create(program_, fused_, source, options_));
  binding_ =
      std::make_unique<Binding>(Binding{program_, options_, kernels_, weights_, kv_type_, {}});
  binding_->prefetch_bytes = memory_.tuning.prefetch_bytes;
  DUNLIN_RETURN_IF_ERROR(reserve_values(fused_));
  bind_steps(fused_);
  DUNLIN_RETURN_IF_ERROR(reserve_scratch());
  find_outputs();
  return options_.offload.on ? start_offload() : Result<void>();
}

// Before the weights are there, when the memory that it takes is free. With an offload it may not be.
Result<void> CpuExecutable::tune_memory(const WeightSource& source) {
  const MemoryTuningOptions& wanted = options_.memory_tuning;
  if (wanted.folder.empty() || !options_.enabled(kMemoryTuning)) return {};
  DUNLIN_ASSIGN_OR_RETURN(const Weights weights,
                          Weights::lay_out(program_, fused_, source, options_));
  const auto kernel = streaming_kernel(program_, weights, kernels_);
  if (!kernel || weights.bytes() < wanted.least_bytes) return {};
  if (options_.progress) options_.progress(0, "measuring memory");
  const auto bytes = static_cast<int64_t>(weights.bytes());
  memory_ = cpu::tune_memory(*kernel, *pool_, wanted.folder, options_.offload.on ? 0 : bytes);
  return {};
}

std::string CpuExecutable::memory_tuning() const {
  return fmt::format("weights asked for {} bytes ahead, {} pages ({})",
                     memory_.tuning.prefetch_bytes, memory_.tuning.huge_pages ? "huge" : "small",
                     memory_.origin);
}

// After activations and scratch, so that what is still free is what the weights and the caller have.
Result<void> CpuExecutable::start_offload() {
  DUNLIN_ASSIGN_OR_RETURN(const uint64_t budget, weights_budget(options_.offload.other_bytes));
  DUNLIN_ASSIGN_OR_RETURN(
      offload_, Offload::create(map_weights(program_, fused_, weights_), experts_per_row(program_),
                                budget, make_system_pager(), options_.progress));
  offload_steps(*binding_, fused_, *offload_, steps_);
  return {};
}

std::optional<OffloadStatistics> CpuExecutable::offload() const {
  if (offload_ == nullptr) return std::nullopt;
  return offload_->statistics();
}

Result<void> CpuExecutable::reserve_values(const std::vector<FusedStep>& fused) {
  const MemoryPlan plan =
      plan_memory(program_, fused, options_.limits, options_.enabled(kMemoryReuse));
  DUNLIN_ASSIGN_OR_RETURN(values_, Arena::create(plan.bytes, "activations"));
  values_.touch();
  for (size_t i = 0; i < program_.values.size(); ++i) {
    std::byte* address = plan.offsets[i] < 0 ? nullptr : values_.data() + plan.offsets[i];
    const auto id = static_cast<ValueId>(i);
    if (is_weight(program_, id)) {
      // Plain weights are operands like others; nothing writes to an operand.
      address = reinterpret_cast<std::byte*>(const_cast<float*>(weights_.of(program_, id).plain));
    }
    binding_->addresses.push_back(address);
  }
  return {};
}

void CpuExecutable::bind_steps(const std::vector<FusedStep>& fused) {
  for (const FusedStep& step : fused) {
    const Node& node = program_.nodes[static_cast<size_t>(step.node)];
    if (select_runner(program_, node) == Runner::kernel) {
      steps_.push_back(bind(*binding_, step));
    } else if (reference_ != nullptr) {  // footprint() has none: its steps need no scratch
      steps_.push_back(bind_reference(*binding_, node, *reference_));
    }
  }
}

int64_t CpuExecutable::plan_scratch() {
  int64_t scratch = 0;
  int64_t workspace = 0;
  for (const std::unique_ptr<BoundStep>& step : steps_) {
    scratch = std::max(scratch, step->scratch_bytes());
    workspace = std::max(workspace, step->workspace_bytes());
  }
  workspaces_at_ = round_up(scratch, kCacheLine);
  // A line between two workers' memory keeps the prefetchers of one out of the other's.
  workspace_stride_ = round_up(workspace, kCacheLine) + kCacheLine;
  return workspaces_at_ + workspace_stride_ * options_.threads;
}

Result<void> CpuExecutable::reserve_scratch() {
  DUNLIN_ASSIGN_OR_RETURN(scratch_, Arena::create(plan_scratch(), "scratch"));
  scratch_.touch();
  return {};
}

void CpuExecutable::find_outputs() {
  for (const Output& output : program_.outputs) {
    const std::byte* data = binding_->addresses[static_cast<size_t>(output.value)];
    const ValueType& type = program_.type(output.value);
    if (!output.is_of_logits()) taps_.push_back({output.name, type, data});
    if (output.name == kLogitsOutput) {
      logits_.rows = reinterpret_cast<const float*>(data);
      logits_.vocabulary = type.dims.back().size;
    } else if (output.name == kStatisticsOutput) {
      logits_.statistics = reinterpret_cast<const float*>(data);
    } else if (output.name == kCandidateIdsOutput) {
      logits_.ids = reinterpret_cast<const int32_t*>(data);
      logits_.k = type.dims.back().size;
    } else if (output.name == kCandidateLogitsOutput) {
      logits_.candidates = reinterpret_cast<const float*>(data);
    }
  }
}

Result<std::unique_ptr<KvState>> CpuExecutable::make_kv_state(
    const std::vector<int64_t>& pages_per_group) {
  DUNLIN_ASSIGN_OR_RETURN(std::unique_ptr<KvState> state,
                          CpuKvState::create(program_.kv_groups, pages_per_group, kv_type_));
  return state;
}

void CpuExecutable::run(const StepPlan& plan, KvState& state, StepOutput& output) noexcept {
  const FlushToZero flush_to_zero;
  auto* own_state = dynamic_cast<CpuKvState*>(&state);
  DUNLIN_CHECK(own_state != nullptr, "a KV state of another back end");
  tables_.read(plan);
  read_inputs(plan);
  for (const PageMove& move : plan.moves) own_state->move(move);
  if (reference_ != nullptr) reference_->begin_step(plan);
  const RunContext context{plan,
                           *own_state,
                           tables_,
                           *pool_,
                           scratch_.data(),
                           scratch_.data() + workspaces_at_,
                           workspace_stride_};
  if (recorder_ == nullptr) [[likely]] {
    for (const std::unique_ptr<BoundStep>& step : steps_) step->run(context);
  } else {
    recorder_->run(context);
  }
  fill_logits(output);
  fill_taps(output);
}

Result<void> CpuExecutable::record(Profile* profile) {
  recorder_.reset();
  if (profile != nullptr)
    recorder_ =
        std::make_unique<StepRecorder>(*binding_, fused_, steps_, pool_->threads(), *profile);
  pool_->observe(recorder_.get());
  return {};
}

void CpuExecutable::read_inputs(const StepPlan& plan) noexcept {
  for (size_t i = 0; i < program_.values.size(); ++i) {
    const Value& value = program_.values[i];
    if (value.kind == Value::Kind::input) read_input(value, binding_->addresses[i], plan);
  }
}

void CpuExecutable::read_input(const Value& value, std::byte* to,
                               const StepPlan& plan) const noexcept {
  auto* integers = reinterpret_cast<int32_t*>(to);
  auto* floats = reinterpret_cast<float*>(to);
  switch (value.input) {
    case InputKind::tokens:
      std::ranges::copy(plan.tokens, integers);
      return;
    case InputKind::positions:
      std::ranges::copy(plan.positions, integers);
      return;
    case InputKind::row_sequences:
      std::ranges::copy(tables_.row_sequences(), integers);
      return;
    case InputKind::logit_rows:
      std::ranges::copy(plan.logit_rows, integers);
      return;
    case InputKind::temperatures:
      copy_or_fill(plan.temperatures, tables_.sizes().logit_rows, 1.0f, floats);
      return;
    case InputKind::random:
      copy_or_fill(plan.random, tables_.sizes().logit_rows, 0.0f, floats);
      return;
  }
}

void CpuExecutable::fill_logits(StepOutput& output) const noexcept {
  const int64_t rows = logits_.rows == nullptr ? 0 : tables_.sizes().logit_rows;
  output.logits.resize(static_cast<size_t>(rows));
  const auto k = static_cast<size_t>(logits_.k);
  for (int64_t r = 0; r < rows; ++r) {
    LogitsView view;
    view.row = {logits_.rows + r * logits_.vocabulary, static_cast<size_t>(logits_.vocabulary)};
    if (logits_.statistics != nullptr) {
      const float* values = logits_.statistics + r * kLogitStatistics;
      view.lse = values[0];
      view.entropy = values[2];
      view.varentropy = values[3];
      view.finite = values[4] != 0.0f;
    }
    if (logits_.ids != nullptr) view.ids = {logits_.ids + r * logits_.k, k};
    if (logits_.candidates != nullptr) view.logits = {logits_.candidates + r * logits_.k, k};
    output.logits[static_cast<size_t>(r)] = view;
  }
}

void CpuExecutable::fill_taps(StepOutput& output) const noexcept {
  output.taps.resize(taps_.size());
  for (size_t i = 0; i < taps_.size(); ++i) {
    TapView& to = output.taps[i];
    to.name = taps_[i].name;
    to.view.dtype = taps_[i].type.dtype;
    to.view.data = taps_[i].data;
    to.view.shape.clear();
    for (const Dim& dim : taps_[i].type.dims) to.view.shape.push_back(tables_.sizes().of(dim));
  }
}

std::vector<std::pair<std::string, std::string>> CpuExecutable::kernels() const {
  std::vector<std::pair<std::string, std::string>> all;
  for (const std::unique_ptr<BoundStep>& step : steps_) {
    for (auto& pair : step->kernels()) {
      if (std::ranges::find(all, pair) == all.end()) all.push_back(std::move(pair));
    }
  }
  return all;
}

uint64_t CpuExecutable::weights_bytes() const {
  return weights_.bytes() + (reference_ == nullptr ? 0 : reference_->bytes());
}

// Layers run one after the other and share the memory.
std::optional<uint64_t> CpuExecutable::attention_bytes() const {
  int64_t most = 0;
  for (const std::unique_ptr<BoundStep>& step : steps_) {
    if (!step->is_attention()) continue;
    most = std::max(most, step->scratch_bytes() + options_.threads * step->workspace_bytes());
  }
  return static_cast<uint64_t>(most);
}

}  // namespace dunlin::cpu
