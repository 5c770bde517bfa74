#include "backend/pjrt/compile_ahead.h"

#include <fmt/format.h>

#include <numeric>
#include <optional>
#include <set>
#include <utility>

#include "backend/pjrt/ahead_jobs.h"
#include "backend/pjrt/client/hlo_summary.h"
#include "backend/pjrt/compiler.h"
#include "backend/pjrt/discover.h"
#include "backend/pjrt/kv_state.h"
#include "backend/pjrt/launch.h"
#include "backend/pjrt/layout_probe.h"
#include "backend/pjrt/loop_steps.h"
#include "backend/pjrt/open_device.h"
#include "backend/pjrt/profile.h"
#include "backend/pjrt/row_wise.h"
#include "backend/pjrt/target.h"
#include "backend/pjrt/weights.h"
#include "backend/weight_shape.h"
#include "base/cpu_features.h"
#include "base/log.h"
#include "program/definitions.h"

namespace dunlin::pjrt {
namespace {

std::string gibibytes(int64_t bytes) {
  return fmt::format("{:.2f} GiB", static_cast<double>(bytes) / (1024.0 * 1024.0 * 1024.0));
}

// A model as it is lowered, with the arrays of the largest KV cache that its limits allow.
struct LoweredModel {
  Program expanded = {};
  LoweringOptions lowering = {};
  std::vector<KvGroupShape> groups = {};
  int64_t weights_bytes = 0;
  int64_t kv_bytes = 0;
};

Result<LoweredModel> lower_model(const Program& program, const WeightSource& source,
                                 const CompileOptions& options, const MeshShape& mesh,
                                 Platform platform) {
  if (!is_row_wise(program)) {
    return Error{ErrorKind::device,
                 program.model + ": its programs follow from each step's sizes, not from limits"};
  }
  const bool on_mesh = mesh.devices() > 1;
  LoweredModel model;
  DUNLIN_ASSIGN_OR_RETURN(model.expanded, expand(program, [on_mesh](const Node& node) {
                            return is_lowered_directly(node.op, on_mesh);
                          }));
  DUNLIN_ASSIGN_OR_RETURN(const std::vector<WeightView> views,
                          resolve_weights(model.expanded, source));
  model.lowering.precision = options.precision;
  model.lowering.platform = platform;
  for (const WeightView& view : views) model.lowering.formats.push_back(view.format);
  if (on_mesh) {
    DUNLIN_ASSIGN_OR_RETURN(model.lowering.sharding,
                            shard_program(model.expanded, source, mesh, /*splits_batch=*/true));
  }
  const ProgramSharding* const sharding = model.lowering.sharding.get();
  for (const WeightUse& use : weight_uses(model.expanded, model.lowering))
    model.weights_bytes += weight_bytes(model.expanded, use, sharding);

  const LaunchPlanner planner(program, options.limits, /*row_wise=*/true,
                              on_mesh ? sharding->batch_parts() : 1);
  for (size_t group = 0; group < program.kv_groups.size(); ++group) {
    const int64_t pages = planner.pages_per_slot(static_cast<int32_t>(group));
    model.groups.push_back({planner.slots_of_part(options.limits.sequences), pages * kPageTokens});
  }
  DUNLIN_RETURN_IF_ERROR(kv_bytes_f32(program, model.groups));
  for (const TensorType& type : state_types(program, model.groups, model.lowering))
    model.kv_bytes += type.bytes();
  return model;
}

// With loops of `steps`, where the Program can have them.
std::vector<Bucket> buckets_of(const Program& program, const LoweredModel& model,
                               const StepLimits& limits, int64_t steps) {
  const ProgramSharding* const sharding = model.lowering.sharding.get();
  const LaunchPlanner planner(program, limits, /*row_wise=*/true,
                              sharding == nullptr ? 1 : sharding->batch_parts(),
                              loop_steps(program, limits, steps));
  return planner.buckets(model.groups);
}

// "linear: i4 in groups of 32; embed: i8 in groups of 32".
std::string forms_text(const LoweredModel& model) {
  std::string text;
  for (const auto& [op, forms] : forms_of_operations(model.expanded, model.lowering))
    text += fmt::format("{}{}: {}", text.empty() ? "" : "; ", op_name(op), forms);
  return text;
}

Result<void> check_fits(int64_t needed, int64_t memory) {
  if (memory == 0 || needed <= memory) return {};
  return Error{ErrorKind::does_not_fit,
               fmt::format("needs {}, {} more than the {} of a device", gibibytes(needed),
                           gibibytes(needed - memory), gibibytes(memory))};
}

// Whoever refuses it, the compiler included: with what every program holds.
Error with_sizes(const Error& why, const LoweredModel& model) {
  if (why.kind != ErrorKind::does_not_fit) return why;
  return {why.kind, fmt::format("{} (weights of {}, a KV cache of {})", why.message,
                                gibibytes(model.weights_bytes), gibibytes(model.kv_bytes))};
}

std::optional<AheadBytes> bytes_of(const CompiledProgram& program) {
  const auto memory = program.memory();
  if (!memory.ok()) return std::nullopt;
  return AheadBytes{.arguments = memory->arguments,
                    .outputs = memory->outputs,
                    .aliased = memory->aliased,
                    .temporary = memory->temporary,
                    .code = memory->code};
}

std::optional<CycleEstimate> estimate_of(const CompiledProgram& program) {
  const auto optimised = program.optimised();
  if (!optimised.ok()) return std::nullopt;
  const auto operations = read_hlo(*optimised);
  return operations.ok() ? estimate_cycles(*operations) : std::nullopt;
}

std::vector<AheadJob> bucket_jobs(const LoweredModel& model, const std::vector<Bucket>& buckets) {
  std::vector<AheadJob> jobs;
  for (const Bucket& bucket : buckets) {
    jobs.push_back({bucket.text(), [&model, bucket] {
                      return lower(model.expanded, bucket, model.lowering).text;
                    }});
  }
  return jobs;
}

// What an executable runs beside its buckets: arrays that are made, pages that are copied, and places
// that are set to zero.
std::vector<AheadJob> cache_jobs(const Program& program, const LoweredModel& model) {
  std::vector<AheadJob> jobs;
  const LoweringOptions& lowering = model.lowering;
  const auto types = state_types(program, model.groups, lowering);
  std::set<std::string> seen;
  auto first = types.begin();
  for (size_t i = 0; i < program.kv_groups.size(); ++i) {
    const auto group = static_cast<int32_t>(i);
    const int64_t count = arrays_of_group(program.kv_groups[i], lowering.platform);
    const std::vector<TensorType> arrays(first, first + count);
    first += count;
    if (arrays.empty()) continue;
    const std::string name = arrays.front().text();
    const std::string zeros = zeros_text(arrays.front(), lowering, group);
    if (seen.insert(zeros).second) jobs.push_back({"zeros, " + name, [zeros] { return zeros; }});
    jobs.push_back({"copy of a page, " + name, [arrays, &lowering, group] {
                      return lower_page_copy(arrays, lowering, group);
                    }});
    jobs.push_back({"places to zero, " + name, [arrays, &lowering, group] {
                      return lower_place_clear(arrays, lowering, group);
                    }});
  }
  return jobs;
}

// A plug-in that ended while it was asked is not one that does not tell. `lost`: PluginCalls::lost().
Result<AheadProgram> unless_lost(AheadProgram made, const std::optional<Error>& lost) {
  if (lost) return *lost;
  return made;
}

int threads_for(const CompileOptions& options) {
  return options.threads > 0 ? options.threads : cpu_features().cores;
}

Result<AheadResult> compile_here(const Program& program, const LoweredModel& model,
                                 const OpenDevice& device, const AheadOptions& options) {
  AheadResult result{.plugin = device.client->plugin().path,
                     .program_folder = device.program_folder};
  Compiler compiler(device.client, model.expanded, model.lowering, device.spec,
                    device.program_folder);
  std::vector<AheadJob> jobs =
      bucket_jobs(model, buckets_of(program, model, options.compile.limits, device.steps));
  for (AheadJob& job : cache_jobs(program, model)) jobs.push_back(std::move(job));
  DUNLIN_ASSIGN_OR_RETURN(jobs, named_jobs(std::move(jobs), options.only));
  const CompileJob compile = [&compiler](const std::string& text) -> Result<AheadProgram> {
    DUNLIN_ASSIGN_OR_RETURN(const MadeProgram made, compiler.make(text));
    const std::optional<AheadBytes> bytes = bytes_of(made.program->compiled());
    AheadProgram ahead{.from_cache = made.from_cache, .bytes = bytes};
    return unless_lost(std::move(ahead), compiler.client().lost());
  };
  auto programs = run_jobs(jobs, threads_for(options.compile), options.compile.progress, compile);
  if (!programs.ok()) return programs.error();
  result.programs = std::move(programs).value();
  return result;
}

// libtpu takes only programs for a whole slice.
Result<void> check_devices(const std::string& context, int64_t devices, const MeshShape& mesh) {
  if (devices == mesh.devices()) return {};
  return Error{ErrorKind::device, fmt::format("{}: it has {} devices, and --mesh {} has {}",
                                              context, devices, to_string(mesh), mesh.devices())};
}

// A GPU is as many as the mesh asks for, in one machine.
void set_devices(int64_t devices, Target& target) {
  if (target.plugin != "gpu") return;
  for (auto& [name, value] : target.options) {
    if (name == "topology") value = fmt::format("1x1x{}", devices);
  }
}

Result<AheadResult> compile_for_target(const Program& program, LoweredModel& model, Target target,
                                       const AheadOptions& options) {
  const std::string context = "--topology " + options.topology;
  const MeshShape& mesh = options.pjrt.mesh;
  set_devices(mesh.devices(), target);
  // What needs no compiler comes first.
  if (target.chips > mesh.devices())
    DUNLIN_RETURN_IF_ERROR(check_devices(context, target.chips, mesh));
  const int64_t memory = target.memory_bytes > 0 ? target.memory_bytes : options.memory_bytes;
  if (const auto fits = check_fits(model.weights_bytes + model.kv_bytes, memory); !fits.ok())
    return fits.error().with_context(context);
  DUNLIN_ASSIGN_OR_RETURN(const int64_t steps,
                          steps_of_call(options.pjrt, platform_of(target.plugin)));
  DUNLIN_ASSIGN_OR_RETURN(CompileSpec spec, parse_options(options.pjrt.xla_options));
  const std::string& device = options.pjrt.device.empty() ? target.plugin : options.pjrt.device;
  DUNLIN_ASSIGN_OR_RETURN(const PluginPlace place, find_plugin(device));
  DUNLIN_ASSIGN_OR_RETURN(const auto calls, load_plugin(place.path, options.pjrt.isolate));
  DUNLIN_ASSIGN_OR_RETURN(const auto topology,
                          Topology::create(calls, target.topology, target.options));
  DUNLIN_RETURN_IF_ERROR(check_devices(context, topology->devices(), mesh));
  spec.device_ids.resize(static_cast<size_t>(mesh.devices()));
  std::iota(spec.device_ids.begin(), spec.device_ids.end(), 0);
  spec.shardy = mesh.devices() > 1;
  spec = with_own_options(calls->plugin(), std::move(spec));
  if (!program.kv_groups.empty())
    model.lowering.pins_layout = takes_layouts(calls->plugin(), *topology, spec);
  AheadResult result{.plugin = calls->plugin().path, .memory_bytes = memory};
  const CompileJob compile = [&](const std::string& text) -> Result<AheadProgram> {
    DUNLIN_ASSIGN_OR_RETURN(const CompiledProgram compiled, topology->compile(text, spec));
    AheadProgram made{.bytes = bytes_of(compiled), .estimate = estimate_of(compiled)};
    if (made.bytes) DUNLIN_RETURN_IF_ERROR(check_fits(made.bytes->total(), target.memory_bytes));
    return unless_lost(std::move(made), calls->lost());
  };
  DUNLIN_ASSIGN_OR_RETURN(
      const std::vector<AheadJob> jobs,
      named_jobs(bucket_jobs(model, buckets_of(program, model, options.compile.limits, steps)),
                 options.only));
  auto programs = run_jobs(jobs, threads_for(options.compile), options.compile.progress, compile);
  if (!programs.ok()) return programs.error().with_context(context);
  result.programs = std::move(programs).value();
  return result;
}

// With what every program holds; and what is to be said of the forms of weights.
Result<AheadResult> with_model(Result<AheadResult> result, const LoweredModel& model) {
  if (!result.ok()) return with_sizes(result.error(), model);
  result->weights_bytes = model.weights_bytes;
  result->kv_bytes = model.kv_bytes;
  result->weight_forms = forms_text(model);
  if (const std::string note = widening_note(model.expanded, model.lowering); !note.empty())
    log_warning(note);
  return result;
}

}  // namespace
}  // namespace dunlin::pjrt

namespace dunlin {

Result<AheadResult> compile_ahead(const Program& program, const WeightSource& weights,
                                  const AheadOptions& options) {
  DUNLIN_RETURN_IF_ERROR(pjrt::check_profile(options.compile));
  const auto lowered_for = [&](Platform platform) {
    return pjrt::lower_model(program, weights, options.compile, options.pjrt.mesh, platform);
  };
  if (!options.topology.empty()) {
    DUNLIN_ASSIGN_OR_RETURN(const pjrt::Target target, pjrt::find_target(options.topology));
    DUNLIN_ASSIGN_OR_RETURN(pjrt::LoweredModel model, lowered_for(platform_of(target.plugin)));
    return pjrt::with_model(pjrt::compile_for_target(program, model, target, options), model);
  }
  PjrtOptions chosen = options.pjrt;
  if (chosen.device.empty()) chosen.device = "cpu-xla";
  DUNLIN_ASSIGN_OR_RETURN(const pjrt::OpenDevice device, pjrt::open_device(chosen));
  DUNLIN_ASSIGN_OR_RETURN(pjrt::LoweredModel model,
                          lowered_for(platform_of(device.client->platform())));
  if (!program.kv_groups.empty()) {
    model.lowering.pins_layout =
        pjrt::takes_layouts(*device.client, chosen.mesh.devices(), device.spec);
  }
  return pjrt::with_model(pjrt::compile_here(program, model, device, options), model);
}

}  // namespace dunlin
