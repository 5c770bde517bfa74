#include "backend/pjrt/executable.h"

#include <fmt/format.h>

#include <cmath>
#include <cstddef>
#include <new>
#include <set>
#include <span>
#include <utility>

#include "backend/pjrt/layout_probe.h"
#include "backend/pjrt/loop_steps.h"
#include "backend/pjrt/row_wise.h"
#include "backend/pjrt/run_on_state.h"
#include "backend/weight_shape.h"
#include "base/log.h"
#include "program/definitions.h"

namespace dunlin::pjrt {
namespace {

Error lost_state() {
  return {ErrorKind::device, "the KV cache was lost with a program that failed"};
}

// A NaN behind the head is in every logit, also of a Program that has no statistics of them.
bool are_numbers(const LogitsView& view) {
  return view.finite && (view.row.empty() || !std::isnan(view.row.front()));
}

// Logits that are numbers tell that the keys and values are that they were made of: those of a
// sequence's last row of all of them, since blocks of rows go no further than they see; those of any
// row where it sees the rows behind it, too (StepPlan::lengths).
void note_numbers(const StepPlan& plan, const std::vector<LaunchPlanner::Holding>& holdings,
                  const StepResults& results, const std::vector<LogitsView>& logits,
                  PjrtKvState& state) {
  for (size_t s = 0; s < holdings.size(); ++s) {
    const LaunchPlanner::Holding& it = holdings[s];
    const int32_t last = it.first_row + it.rows - 1;
    bool told = results.unasked_finite(s);
    bool finite = true;
    for (size_t i = 0; i < logits.size(); ++i) {
      const int32_t row = plan.logit_rows[i % plan.logit_rows.size()];
      if (row < it.first_row || row > last) continue;
      told = told || row == last || !plan.lengths.empty();
      finite = finite && are_numbers(logits[i]);
    }
    if (told && finite) state.doubtful_end(it.slot) = 0;
  }
}

}  // namespace

PjrtExecutable::PjrtExecutable(Program program, Program expanded, const CompileOptions& options,
                               std::shared_ptr<const ProgramSharding> sharding, int64_t steps)
    : program_(std::move(program)),
      expanded_(std::move(expanded)),
      sharding_(std::move(sharding)),
      steps_(loop_steps(program_, options.limits, steps)),
      planner_(program_, options.limits, is_row_wise(program_),
               sharding_ == nullptr ? 1 : sharding_->batch_parts(), steps_),
      results_(program_) {}

Result<std::unique_ptr<PjrtExecutable>> PjrtExecutable::create(
    std::shared_ptr<const Client> client, const Program& program, const WeightSource& source,
    const CompileOptions& options, CompileSpec spec, const std::string& program_folder,
    const MeshShape& mesh, int64_t steps) {
  const bool on_mesh = mesh.devices() > 1;
  DUNLIN_ASSIGN_OR_RETURN(Program expanded, expand(program, [on_mesh](const Node& node) {
                            return is_lowered_directly(node.op, on_mesh);
                          }));
  DUNLIN_ASSIGN_OR_RETURN(const std::vector<WeightView> views, resolve_weights(expanded, source));
  LoweringOptions lowering{.precision = options.precision,
                           .platform = platform_of(client->platform())};
  for (const WeightView& view : views) lowering.formats.push_back(view.format);
  if (on_mesh) {
    DUNLIN_ASSIGN_OR_RETURN(lowering.sharding,
                            shard_program(expanded, source, mesh, is_row_wise(program)));
  }
  if (!program.kv_groups.empty())
    lowering.pins_layout = takes_layouts(*client, mesh.devices(), spec);
  std::unique_ptr<PjrtExecutable> executable(
      new PjrtExecutable(program, std::move(expanded), options, lowering.sharding, steps));
  if (const std::string note = widening_note(executable->expanded_, lowering); !note.empty())
    log_warning(note);
  executable->forms_ = forms_of_operations(executable->expanded_, lowering);
  const std::vector<WeightUse> uses = weight_uses(executable->expanded_, lowering);
  DUNLIN_ASSIGN_OR_RETURN(executable->weights_,
                          DeviceWeights::load(*client, executable->expanded_, views, uses, options,
                                              lowering.sharding.get()));
  executable->platform_ = client->platform();
  executable->compiler_ =
      std::make_unique<Compiler>(std::move(client), executable->expanded_, std::move(lowering),
                                 std::move(spec), program_folder);
  DUNLIN_RETURN_IF_ERROR(executable->upload_places());
  return executable;
}

size_t PjrtExecutable::devices() const {
  return sharding_ == nullptr ? 1 : static_cast<size_t>(sharding_->devices());
}

int64_t PjrtExecutable::batch_part_of(size_t device) const {
  return sharding_ == nullptr ? 0 : sharding_->batch_part_of(static_cast<int64_t>(device));
}

Result<void> PjrtExecutable::upload_places() {
  if (sharding_ == nullptr) return {};
  for (int64_t device = 0; device < sharding_->devices(); ++device) {
    std::vector<int32_t> numbers;
    for (const int64_t number : coordinates_of(sharding_->mesh(), device))
      numbers.push_back(static_cast<int32_t>(number));
    DUNLIN_ASSIGN_OR_RETURN(
        Buffer place,
        compiler_->client().upload(place_type(), std::as_bytes(std::span(numbers)), device));
    places_.push_back(std::move(place));
  }
  return {};
}

Result<PjrtExecutable::Buffers> PjrtExecutable::upload_lists(
    const std::vector<std::vector<int32_t>>& of_parts) const {
  Buffers buffers;
  for (size_t device = 0; device < devices(); ++device) {
    const std::vector<int32_t>& list = of_parts[static_cast<size_t>(batch_part_of(device))];
    const TensorType type{Element::i32, {static_cast<int64_t>(list.size())}};
    DUNLIN_ASSIGN_OR_RETURN(Buffer buffer,
                            compiler_->client().upload(type, std::as_bytes(std::span(list)),
                                                       static_cast<int64_t>(device)));
    buffers.push_back(std::move(buffer));
  }
  return buffers;
}

int64_t PjrtExecutable::pages_per_slot(int32_t group) const {
  return planner_.pages_per_slot(group);
}

Result<void> PjrtExecutable::run_launch(const StepPlan& plan, const Launch& launch,
                                        PjrtKvState& state) {
  DUNLIN_ASSIGN_OR_RETURN(const CompiledBucket* compiled, compiler_->bucket(launch.bucket));
  std::vector<std::vector<int32_t>> lists;
  for (int64_t part = 0; part < planner_.parts(); ++part)
    lists.push_back(planner_.step_array(plan, launch, part));
  DUNLIN_ASSIGN_OR_RETURN(const Buffers step, upload_lists(lists));
  std::vector<std::vector<BufferId>> arguments(devices());
  for (size_t device = 0; device < devices(); ++device) {
    for (const WeightUse& use : compiled->lowered.weights) {
      for (const Buffer& array : weights_.of(use, device)) arguments[device].push_back(array.id());
    }
    if (!places_.empty()) arguments[device].push_back(places_[device].id());
  }
  DUNLIN_ASSIGN_OR_RETURN(const std::vector<Buffers> outputs,
                          run_on_state(*compiled->program, std::move(arguments),
                                       {state.devices(), 0, state.arrays().size()}, step,
                                       compiled->lowered.outputs.size()));
  return launch.bucket.steps > 1 ? take_chosen(launch, compiled->lowered.outputs.front(), outputs)
                                 : take_outputs(launch, compiled->lowered, outputs);
}

// Every part of the batch has its ids on each of its devices.
Result<void> PjrtExecutable::take_chosen(const Launch& launch, const TensorType& type,
                                         const std::vector<Buffers>& outputs) {
  for (int64_t batch_part = 0; batch_part < planner_.parts(); ++batch_part) {
    const int64_t device = sharding_ == nullptr ? 0 : sharding_->device_of(batch_part, {}, 0);
    const Buffer& chosen = outputs[static_cast<size_t>(device)].front();
    DUNLIN_RETURN_IF_ERROR(results_.add_chosen(launch, batch_part, type, chosen));
  }
  return {};
}

// Every part of the batch has the outputs on one of its devices, or parts of them on several.
Result<void> PjrtExecutable::take_outputs(const Launch& launch, const LoweredProgram& lowered,
                                          const std::vector<Buffers>& outputs) {
  for (int64_t batch_part = 0; batch_part < planner_.parts(); ++batch_part) {
    std::vector<OutputArray> arrays;
    for (size_t i = 0; i < lowered.outputs.size(); ++i) {
      const std::vector<MeshAxis>& axes = lowered.output_axes[i];
      OutputArray array{.type = lowered.outputs[i]};
      const int64_t parts = axes.empty() ? 1 : sharding_->mesh().size(axes);
      for (int64_t part = 0; part < parts; ++part) {
        const int64_t device =
            sharding_ == nullptr ? 0 : sharding_->device_of(batch_part, axes, part);
        array.parts.push_back(&outputs[static_cast<size_t>(device)][i]);
      }
      arrays.push_back(std::move(array));
    }
    DUNLIN_RETURN_IF_ERROR(results_.add(launch, batch_part, arrays));
  }
  return {};
}

Result<void> PjrtExecutable::run_step(const StepPlan& plan, PjrtKvState& state,
                                      StepOutput& output) {
  // A plug-in that has gone says more than that its arrays have.
  if (!state.intact()) return compiler_->client().lost().value_or(lost_state());
  for (const PageMove& move : plan.moves) {
    if (move.from != move.to) DUNLIN_RETURN_IF_ERROR(copy_page(move, state));
  }
  std::vector<LaunchPlanner::Holding> holdings;
  if (state.groups() > 0) holdings = planner_.holdings(plan, state.shapes());
  DUNLIN_RETURN_IF_ERROR(clear_behind(holdings, state));
  for (const Launch& launch : planner_.split(plan, state.shapes())) {
    DUNLIN_RETURN_IF_ERROR(run_launch(plan, launch, state));
  }
  results_.publish(output);
  note_numbers(plan, holdings, results_, output.logits, state);
  return {};
}

void PjrtExecutable::run(const StepPlan& plan, KvState& state, StepOutput& output) noexcept {
  auto* own_state = dynamic_cast<PjrtKvState*>(&state);
  DUNLIN_CHECK(own_state != nullptr, "a KV state of another back end");
  output.failure.reset();
  try {
    results_.prepare(plan);
    const auto ran = run_step(plan, *own_state, output);
    if (!ran.ok()) output.failure = ran.error();
  } catch (const std::bad_alloc&) {
    output.failure = out_of_memory();
  }
  if (!output.failure) return;
  output.logits.clear();
  output.taps.clear();
}

std::vector<std::pair<std::string, std::string>> PjrtExecutable::kernels() const {
  std::set<Op> used;
  for (const Node& node : program_.nodes) used.insert(node.op);
  std::vector<std::pair<std::string, std::string>> names;
  for (const Op op : used) {
    const bool direct = is_basic(op) || is_lowered_directly(op, sharding_ != nullptr);
    std::string kernel = direct ? "stablehlo" : "definition_stablehlo";
    if (const auto forms = forms_.find(op); forms != forms_.end())
      kernel += fmt::format(" ({})", forms->second);
    names.emplace_back(op_name(op), std::move(kernel));
  }
  return names;
}

}  // namespace dunlin::pjrt
