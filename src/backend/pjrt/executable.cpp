#include "backend/pjrt/executable.h"

#include <fmt/format.h>

#include <set>

#include "backend/pjrt/row_wise.h"
#include "program/definitions.h"

namespace dunlin::pjrt {
namespace {

Error lost_state() {
  return {ErrorKind::device, "the KV cache was lost with a program that failed"};
}

// Runs a program whose first arguments are arrays of the state [first, last), donated; it returns
// them first. Gives what else it returns.
Result<std::vector<Buffer>> run_on_state(const LoadedProgram& program,
                                         std::vector<PJRT_Buffer*> before,
                                         std::vector<Buffer>& arrays, size_t first, size_t last,
                                         const Buffer& after) {
  for (size_t i = first; i < last; ++i) before.push_back(arrays[i].get());
  before.push_back(after.get());
  auto results = program.execute({before});
  // Donated or not, the old handles are of no more use; what was written is in the new ones.
  for (size_t i = first; i < last; ++i) arrays[i] = Buffer();
  if (!results.ok()) return results.error();
  std::vector<Buffer>& values = results->front();
  for (size_t i = first; i < last; ++i) arrays[i] = std::move(values[i - first]);
  values.erase(values.begin(), values.begin() + static_cast<std::ptrdiff_t>(last - first));
  return std::move(values);
}

}  // namespace

PjrtExecutable::PjrtExecutable(Program program, Program expanded, const CompileOptions& options)
    : program_(std::move(program)),
      expanded_(std::move(expanded)),
      planner_(program_, options.limits, is_row_wise(program_)),
      results_(program_) {}

Result<std::unique_ptr<PjrtExecutable>> PjrtExecutable::create(
    std::shared_ptr<const Client> client, const Program& program, const WeightSource& source,
    const CompileOptions& options, CompileSpec spec, const std::string& program_folder) {
  DUNLIN_ASSIGN_OR_RETURN(Program expanded, expand(program, [](const Node& node) {
                            return is_lowered_directly(node.op);
                          }));
  std::unique_ptr<PjrtExecutable> executable(
      new PjrtExecutable(program, std::move(expanded), options));
  DUNLIN_ASSIGN_OR_RETURN(const std::vector<WeightView> views,
                          resolve_weights(executable->expanded_, source));
  LoweringOptions lowering{.precision = options.precision};
  for (const WeightView& view : views) lowering.formats.push_back(view.format);
  const std::vector<WeightUse> uses = weight_uses(executable->expanded_, lowering);
  DUNLIN_ASSIGN_OR_RETURN(executable->weights_, DeviceWeights::load(*client, executable->expanded_,
                                                                    views, uses, options));
  executable->platform_ = client->platform();
  executable->compiler_ =
      std::make_unique<Compiler>(std::move(client), executable->expanded_, std::move(lowering),
                                 std::move(spec), program_folder);
  executable->element_ = kv_element(options.precision);
  return executable;
}

int64_t PjrtExecutable::pages_per_slot(int32_t group) const {
  return planner_.pages_per_slot(group);
}

Result<std::unique_ptr<KvState>> PjrtExecutable::make_kv_state(
    const std::vector<int64_t>& pages_per_group) {
  if (pages_per_group.size() != program_.kv_groups.size()) {
    return runtime_error(fmt::format("KV state: page counts for {} groups, but the model has {}",
                                     pages_per_group.size(), program_.kv_groups.size()));
  }
  std::vector<KvGroupShape> shapes;
  for (size_t i = 0; i < pages_per_group.size(); ++i) {
    const int64_t each = planner_.pages_per_slot(static_cast<int32_t>(i));
    if (pages_per_group[i] < 0 || pages_per_group[i] % each != 0) {
      return runtime_error(fmt::format("KV state: {} pages in group {}, which has {} for each slot",
                                       pages_per_group[i], i, each));
    }
    shapes.push_back({pages_per_group[i] / each, each * kPageTokens});
  }
  DUNLIN_RETURN_IF_ERROR(kv_bytes_f32(program_, shapes));
  const std::vector<TensorType> types = state_types(program_, shapes, element_);
  std::vector<Buffer> arrays;
  for (const TensorType& type : types) {
    auto array = compiler_->zeros(type);
    if (!array.ok()) return array.error().with_context("KV state");
    arrays.push_back(std::move(array).value());
  }
  std::vector<size_t> first_array{0};
  for (const KvGroup& group : program_.kv_groups) {
    first_array.push_back(first_array.back() + 2 * static_cast<size_t>(group.layers));
  }
  return std::unique_ptr<KvState>(std::make_unique<PjrtKvState>(
      std::move(shapes), types, std::move(arrays), std::move(first_array)));
}

Result<void> PjrtExecutable::copy_pages(const StepPlan& plan, PjrtKvState& state) {
  for (const PageMove& move : plan.moves) {
    if (move.from == move.to) continue;
    const auto each = static_cast<int32_t>(state.pages_per_slot(move.group));
    const std::vector<int32_t> places = {move.from / each, move.from % each * kPageTokens,
                                         move.to / each, move.to % each * kPageTokens};
    const size_t first = state.first_array(move.group);
    const size_t last = state.last_array(move.group);
    const std::vector<TensorType> types(state.types().begin() + static_cast<std::ptrdiff_t>(first),
                                        state.types().begin() + static_cast<std::ptrdiff_t>(last));
    DUNLIN_ASSIGN_OR_RETURN(const LoadedProgram* program, compiler_->page_copy(types));
    DUNLIN_ASSIGN_OR_RETURN(
        const Buffer step,
        compiler_->client().upload({Element::i32, {4}}, std::as_bytes(std::span(places)), 0));
    DUNLIN_ASSIGN_OR_RETURN(const auto rest,
                            run_on_state(*program, {}, state.arrays(), first, last, step));
    (void)rest;
  }
  return {};
}

Result<void> PjrtExecutable::run_launch(const StepPlan& plan, const Launch& launch,
                                        PjrtKvState& state) {
  DUNLIN_ASSIGN_OR_RETURN(const CompiledBucket* compiled, compiler_->bucket(launch.bucket));
  const std::vector<int32_t> array = planner_.step_array(plan, launch);
  DUNLIN_ASSIGN_OR_RETURN(
      const Buffer step,
      compiler_->client().upload(compiled->lowered.step, std::as_bytes(std::span(array)), 0));
  std::vector<PJRT_Buffer*> arguments;
  for (const WeightUse& use : compiled->lowered.weights) {
    arguments.push_back(weights_.of(use).get());
  }
  DUNLIN_ASSIGN_OR_RETURN(const std::vector<Buffer> outputs,
                          run_on_state(*compiled->program, std::move(arguments), state.arrays(), 0,
                                       state.arrays().size(), step));
  return results_.add(launch, compiled->lowered.outputs, outputs);
}

Result<void> PjrtExecutable::run_step(const StepPlan& plan, PjrtKvState& state) {
  if (!state.intact()) return lost_state();
  DUNLIN_RETURN_IF_ERROR(copy_pages(plan, state));
  for (const Launch& launch : planner_.split(plan, state.shapes())) {
    DUNLIN_RETURN_IF_ERROR(run_launch(plan, launch, state));
  }
  return {};
}

void PjrtExecutable::run(const StepPlan& plan, KvState& state, StepOutput& output) noexcept {
  auto* own_state = dynamic_cast<PjrtKvState*>(&state);
  DUNLIN_CHECK(own_state != nullptr, "a KV state of another back end");
  output.failure.reset();
  results_.prepare(plan);
  const auto ran = run_step(plan, *own_state);
  if (!ran.ok()) output.failure = ran.error();
  results_.publish(output);
}

std::vector<std::pair<std::string, std::string>> PjrtExecutable::kernels() const {
  std::set<Op> used;
  for (const Node& node : program_.nodes) used.insert(node.op);
  std::vector<std::pair<std::string, std::string>> names;
  for (const Op op : used) {
    const bool direct = is_basic(op) || is_lowered_directly(op);
    names.emplace_back(op_name(op), direct ? "stablehlo" : "definition_stablehlo");
  }
  return names;
}

}  // namespace dunlin::pjrt
