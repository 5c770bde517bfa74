// `dunlin plan`: what fits where and how fast it can be, from the Program and headers alone.
#include <fmt/format.h>

#include <algorithm>
#include <optional>

#include "backend/cpu/cpu_backend.h"
#include "cli/answer.h"
#include "cli/commands.h"
#include "cli/options.h"
#include "cli/plan_output.h"
#include "cli/plan_source.h"
#include "cli/this_cpu.h"
#include "planner/plan.h"

namespace dunlin {
namespace {

struct PlanFlags {
  std::string model;
  std::string device = "cpu";
  int64_t devices = 0;
  std::string mesh;
  std::string context = "auto";
  int64_t parallel = 1;
  int64_t prompt = 512;
  int64_t ubatch = 512;
  double fill = 1;
  Requantization formats;
  std::string cache_k, cache_v;
  std::string precision = "auto";
  int threads = 0;
  int64_t layers = -1;
  std::optional<double> price;
  std::string svg;
  bool all_logits = false, split_cores = false, calibrate = false, json = false;
};

// Everything make_plan() takes; the members refer to `source`, which outlives it.
struct PlanInputs {
  Machine machine;
  std::optional<PlannedModel> model;
  PlanHeading heading;
};

Result<Workload> workload_of(const PlanFlags& flags, const PlanSource& source) {
  Workload workload;
  DUNLIN_ASSIGN_OR_RETURN(workload.context, parse_size("--ctx-size", flags.context));
  if (workload.context == 0) workload.context = std::min(source.trained_context, kDefaultContext);
  if (workload.context > source.trained_context) {
    return usage_error(
        fmt::format("a context of {} is more than the {} positions the model was trained for",
                    workload.context, source.trained_context));
  }
  workload.batch = flags.parallel;
  workload.prompt = std::min(flags.prompt, workload.context);
  workload.chunk = flags.ubatch;
  workload.fill = flags.fill;
  workload.all_logits = flags.all_logits;
  workload.max_context = source.trained_context;
  return workload;
}

bool is_file(const std::string& device) {
  return device.ends_with(".json") || device.find('/') != std::string::npos;
}

Result<Slice> slice_of(const PlanFlags& flags) {
  Slice slice;
  if (is_file(flags.device)) {
    DUNLIN_ASSIGN_OR_RETURN(slice.device, read_device_file(flags.device));
  } else {
    DUNLIN_ASSIGN_OR_RETURN(slice, parse_slice(flags.device, flags.split_cores));
  }
  if (flags.devices > 0) slice.devices = flags.devices;
  return slice;
}

// An accelerator: bytes follow from the formats, memory from the Program.
Result<void> fill_accelerator(const PlanFlags& flags, const PlanSource& source,
                              PlanInputs& inputs) {
  DUNLIN_ASSIGN_OR_RETURN(inputs.machine.slice, slice_of(flags));
  DUNLIN_ASSIGN_OR_RETURN(WeightStorage storage, weight_storage(source.program, source.weights));
  DUNLIN_RETURN_IF_ERROR(requantize(source.program, flags.formats, storage));
  const auto kv = [](const std::string& name) {
    return parse_kv_storage(name.empty() ? "bf16" : name);
  };
  DUNLIN_ASSIGN_OR_RETURN(const Storage keys, kv(flags.cache_k));
  DUNLIN_ASSIGN_OR_RETURN(const Storage values, kv(flags.cache_v));
  inputs.heading.weights = storage_summary(source.program, storage);
  inputs.heading.kv = keys.name == values.name ? keys.name : keys.name + "/" + values.name;
  inputs.model.emplace(source.program, std::move(storage), keys, values);
  return {};
}

// The CPU back end says itself what it holds.
struct CpuFootprint {
  std::shared_ptr<Backend> backend;
  const Program* program;
  WeightSource weights;
  CompileOptions options;
  int64_t vocabulary = 0;

  Result<Footprint> of(const Capacity& capacity) const {
    CompileOptions chosen = options;
    chosen.limits = capacity.limits();
    std::vector<int64_t> pages;
    for (const KvGroup& group : program->kv_groups)
      pages.push_back(kv_pages(group, chosen.limits) * capacity.sequences);
    return backend->footprint(*program, weights, chosen, pages);
  }
  Result<DeviceMemory> memory(const Capacity& capacity) const {
    DUNLIN_ASSIGN_OR_RETURN(const Footprint footprint, of(capacity));
    DeviceMemory memory;
    memory.weights = static_cast<int64_t>(footprint.weights);
    memory.kv = static_cast<int64_t>(footprint.kv);
    memory.activations = static_cast<int64_t>(footprint.activations);
    memory.workspace = static_cast<int64_t>(footprint.workspace);
    memory.process = process_bytes(vocabulary, std::ssize(program->nodes), options.threads) +
                     static_cast<int64_t>(footprint.peak() - footprint.running());
    return memory;
  }
};

// Bytes of a weight as the back end holds it, under the name whose rates apply.
Storage held_storage(const WeightDeclaration& weight, uint64_t bytes, std::string name) {
  int64_t rows = 1;
  for (size_t i = 0; i + 1 < weight.dims.size(); ++i) rows *= extent(weight.dims[i]);
  const int64_t each = (static_cast<int64_t>(bytes) + rows - 1) / rows;
  return {std::move(name), extent(weight.dims.back()), each, 0};
}

Result<void> fill_cpu(const PlanFlags& flags, const PlanSource& source, const Workload& workload,
                      PlanInputs& inputs) {
  if (flags.devices > 1 || flags.split_cores)
    return usage_error("--devices and --split-cores: this machine is one device");
  DUNLIN_ASSIGN_OR_RETURN(CpuRates rates, rates_of_this_cpu(flags.threads));
  CpuFootprint footprint{
      .backend = make_cpu_backend(), .program = &source.program, .weights = {}, .options = {}};
  footprint.options.threads = rates.threads;
  DUNLIN_ASSIGN_OR_RETURN(footprint.options.precision, parse_precision(flags.precision));
  DUNLIN_ASSIGN_OR_RETURN(footprint.weights, in_formats(source, flags.formats));
  DUNLIN_ASSIGN_OR_RETURN(footprint.vocabulary, source.config.integer("vocab_size", 1, 1 << 24));
  const bool f32 = footprint.options.precision == Precision::f32;
  const std::string kv = f32 ? "f32" : "bf16";
  for (const std::string& asked : {flags.cache_k, flags.cache_v}) {
    if (!asked.empty() && asked != kv)
      return usage_error(fmt::format("--cache-type {}: the CPU back end holds {}", asked, kv));
  }
  DUNLIN_ASSIGN_OR_RETURN(
      const Footprint held,
      footprint.of({.sequences = 1, .context = workload.context, .rows = workload.chunk}));
  WeightStorage storage;
  for (size_t i = 0; i < source.program.weights.size(); ++i) {
    const WeightDeclaration& weight = source.program.weights[i];
    DUNLIN_ASSIGN_OR_RETURN(const WeightView view, footprint.weights(weight.name));
    storage.push_back(
        held_storage(weight, held.by_weight[i], f32 ? "F32" : traits(view.format).name));
  }
  DUNLIN_ASSIGN_OR_RETURN(const Storage cache, parse_kv_storage(kv));
  inputs.heading.weights = storage_summary(source.program, storage);
  inputs.heading.kv = kv;
  inputs.machine = {{cpu_device(std::move(rates)), 1},
                    [footprint](const Capacity& capacity) { return footprint.memory(capacity); }};
  inputs.model.emplace(source.program, std::move(storage), cache, cache);
  return {};
}

Error does_not_fit(const Plan& plan) {
  std::string message =
      fmt::format("the model does not fit {}: each device lacks {}", plan.slice.name(),
                  bytes_text(static_cast<double>(plan.shortfall_bytes)));
  if (plan.smallest_device)
    message += fmt::format("; {} would hold it", plan.smallest_device->name());
  return {ErrorKind::does_not_fit, message};
}

Result<void> plan_model(const PlanFlags& flags) {
  DUNLIN_ASSIGN_OR_RETURN(const PlanSource source, open_plan_source(flags.model, flags.layers));
  DUNLIN_ASSIGN_OR_RETURN(const Workload workload, workload_of(flags, source));
  PlanInputs inputs;
  inputs.heading.model = flags.model;
  inputs.heading.family = source.program.model;
  inputs.heading.parameters = source.parameters;
  inputs.heading.assumed = source.checkpoint == nullptr && flags.formats.matrices.empty();
  inputs.heading.price = flags.price;
  DUNLIN_RETURN_IF_ERROR(flags.device == "cpu" ? fill_cpu(flags, source, workload, inputs)
                                               : fill_accelerator(flags, source, inputs));
  std::optional<MeshShape> mesh;
  if (!flags.mesh.empty()) {
    DUNLIN_ASSIGN_OR_RETURN(mesh, parse_mesh_shape(flags.mesh));
  }
  DUNLIN_ASSIGN_OR_RETURN(const Plan plan,
                          make_plan(*inputs.model, inputs.machine, mesh, workload));
  if (!flags.svg.empty()) {
    DUNLIN_RETURN_IF_ERROR(
        write_plan_charts(*inputs.model, inputs.machine, plan, inputs.heading, flags.svg));
  }
  if (flags.json) {
    fmt::print("{}\n", json_line(plan_json(plan, inputs.heading)));
  } else {
    fmt::print("{}", plan_text(plan, inputs.heading));
  }
  if (plan.shortfall_bytes > 0) return does_not_fit(plan);
  return {};
}

Result<void> run_plan(const PlanFlags& flags) {
  if (flags.calibrate) {
    DUNLIN_ASSIGN_OR_RETURN(const CpuRates rates, calibrate_this_cpu(flags.threads));
    if (flags.model.empty()) {
      fmt::print("{}", to_json(rates));
      return {};
    }
  }
  if (flags.model.empty())
    return usage_error("plan: name a model (a directory, a .gguf file or a config.json)");
  return plan_model(flags);
}

void add_model_flags(CLI::App& command, PlanFlags& flags) {
  add_flag(command, "model,-m,--model", flags.model,
           "Hugging Face directory, .gguf file, or a config.json alone");
  add_flag(command, "-c,--ctx-size,--max-model-len", flags.context,
           "positions of each sequence (auto: the model's, at most 8192)");
  add_flag(command, "--parallel,--batch,--max-num-seqs", flags.parallel,
           "sequences at a time, on all devices together (-np)")
      ->check(CLI::Range(1, 1 << 20));
  add_flag(command, "--prompt", flags.prompt, "tokens of each prompt")
      ->check(CLI::Range(1, 1 << 30));
  add_flag(command, "--ubatch-size,--prefill-chunk", flags.ubatch,
           "most prompt tokens of one step (-ub)")
      ->check(CLI::Range(1, 1 << 16));
  add_flag(command, "--fill", flags.fill,
           "share of the context that is filled while decoding, on average")
      ->check(CLI::Range(0.0, 1.0));
  add_flag(command, "--quantize", flags.formats.matrices,
           "plan as if the matrices had this format: Q4_0, int8, fp8, ..");
  add_flag(command, "--output-type", flags.formats.vocabulary,
           "the same for the embedding and output matrices");
  add_flag(command, "--cache-type-k", flags.cache_k, "f32, bf16, q8_0, q4_0 or int8 (-ctk)");
  add_flag(command, "--cache-type-v", flags.cache_v, "f32, bf16, q8_0, q4_0 or int8 (-ctv)");
  add_flag(command, "--precision", flags.precision, "of the CPU: auto, exact or f32");
  add_flag(command, "--layers", flags.layers, "only the first N layers")
      ->check(CLI::Range(0, 4096));
  add_switch(command, "--all-logits", flags.all_logits,
             "logits of every prompt token, as a diffusion canvas needs");
}

void add_device_flags(CLI::App& command, PlanFlags& flags) {
  add_flag(command, "--device", flags.device,
           "cpu (this machine), v2 v3 v4 v5e v5p v6e v7x a100 h100 h200, a slice such as v5e-16 or "
           "v4-8, or a JSON file (docs/planning.md)");
  add_flag(command, "--devices", flags.devices, "how many, where the name does not say it")
      ->check(CLI::Range(1, 1 << 16));
  add_flag(command, "--mesh", flags.mesh,
           "axes data, model, width, fsdp, expert, stage: data=2,model=8 (default: the fastest)");
  add_switch(command, "--split-cores", flags.split_cores,
             "count each of the two cores of a v4 or v5p chip as a device");
  add_flag(command, "-t,--threads", flags.threads, "of the CPU (0: one per core)")
      ->check(CLI::Range(0, 1024));
  add_switch(command, "--calibrate", flags.calibrate,
             "measure this machine first (10 s; kept for later plans)");
  add_flag(command, "--price", flags.price,
           "USD per hour of all devices: prints the cost of a million tokens")
      ->check(CLI::Range(0.0, 1e9));
}

}  // namespace

void add_plan_command(CLI::App& app, int& exit_code) {
  CLI::App* command =
      app.add_subcommand("plan", "Say what fits where and how fast, without reading weights");
  auto flags = std::make_shared<PlanFlags>();
  add_model_flags(*command, *flags);
  add_device_flags(*command, *flags);
  add_flag(*command, "--svg", flags->svg,
           "write charts into this folder: tokens/s over batch, memory over context");
  add_switch(*command, "--json", flags->json, "print one JSON object");
  command->footer(
      "Exit code 4 when it does not fit.\n"
      "Examples:\n"
      "  dunlin plan model.gguf -c 8192\n"
      "  dunlin plan llama-70b/config.json --device v5e-16 --quantize int8 -np 32\n"
      "  dunlin plan model/ --device h100 --devices 2 --price 6.5 --json\n"
      "  dunlin plan --calibrate");
  command->callback([flags, &exit_code] {
    const auto result = run_plan(*flags);
    exit_code = result.ok() ? 0 : report_error(result.error());
  });
}

}  // namespace dunlin
