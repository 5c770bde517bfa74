// `dunlin plan`: what fits where and how fast it can be, from the Program and headers alone.
#include <fmt/format.h>

#include <algorithm>
#include <optional>
#include <string>
#include <utility>

#include "cli/answer.h"
#include "cli/commands.h"
#include "cli/flags.h"
#include "cli/model_name.h"
#include "cli/options.h"
#include "cli/plan_machine.h"
#include "cli/this_cpu.h"
#include "models/registry.h"

namespace dunlin {
namespace {

struct PlanFlags {
  std::string model;
  MachineFlags machine;
  std::string mesh;
  std::string context = "auto";
  int64_t parallel = 1;
  int64_t prompt = 512;
  BatchFlags step;
  double fill = 1;
  int64_t layers = -1;
  int64_t masks = -1;  // -1: kDefaultNewTokens
  std::optional<int64_t> steps, block_length;
  std::optional<std::string> cache;
  std::optional<double> price;
  std::string svg;
  bool all_logits = false, calibrate = false, json = false;
};

// Canvases in place of prompts and tokens, where the model fills in masks.
Result<void> add_canvas(const PlanFlags& flags, bool diffusion, Workload& workload) {
  if (!diffusion) {
    for (const auto& [name, given] :
         {std::pair("--steps", flags.steps.has_value()),
          std::pair("--dlm-cache", flags.cache.has_value()),
          std::pair("--block-length", flags.block_length.has_value())}) {
      if (given)
        return usage_error(fmt::format("{} is for diffusion models, which this is not", name));
    }
    return {};
  }
  const int64_t masks = flags.masks < 0 ? kDefaultNewTokens : flags.masks;
  if (masks == 0) return usage_error("--max-tokens is 0: there is nothing to fill in");
  if (masks >= workload.context) {
    return usage_error(fmt::format("a context of {} leaves no room for a prompt before {} masks",
                                   workload.context, masks));
  }
  CanvasWorkload canvas{.masks = masks, .steps = flags.steps.value_or(masks)};
  const std::string cache = flags.cache.value_or("none");
  if (cache != "none") canvas.block = std::min(flags.block_length.value_or(32), masks);
  canvas.suffix = cache == "prefix";
  if (canvas.steps < canvas.blocks()) {
    return usage_error(fmt::format("{} steps are fewer than the {} blocks of {} masks",
                                   canvas.steps, canvas.blocks(), canvas.masks));
  }
  workload.prompt = std::min(workload.prompt, workload.context - masks);
  workload.canvas = canvas;
  return {};
}

Result<Workload> workload_of(const PlanFlags& flags, const PlanSource& source) {
  Workload workload;
  DUNLIN_ASSIGN_OR_RETURN(const auto diffusion, diffusion_of(source.config));
  DUNLIN_ASSIGN_OR_RETURN(workload.context, parse_size("--ctx-size", flags.context));
  if (workload.context == 0) {
    workload.context =
        std::min(source.trained_context, diffusion ? kDefaultCanvas : kDefaultContext);
  }
  if (workload.context > source.trained_context) {
    return usage_error(
        fmt::format("a context of {} is more than the {} positions the model was trained for",
                    workload.context, source.trained_context));
  }
  workload.batch = flags.parallel;
  workload.prompt = std::min(flags.prompt, workload.context);
  workload.chunk = flags.step.rows();
  workload.fill = flags.fill;
  workload.all_logits = flags.all_logits;
  workload.max_context = source.trained_context;
  DUNLIN_RETURN_IF_ERROR(add_canvas(flags, diffusion.has_value(), workload));
  return workload;
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
  MachineFlags machine = flags.machine;
  std::string& matrices = machine.formats.matrices;
  const std::string mix = is_mix(matrices) ? std::exchange(matrices, {}) : std::string();
  DUNLIN_ASSIGN_OR_RETURN(const PlanSource source,
                          open_plan_source(flags.model, flags.layers, mix));
  DUNLIN_ASSIGN_OR_RETURN(const Workload workload, workload_of(flags, source));
  PlanInputs inputs;
  inputs.heading.model = flags.model;
  inputs.heading.family = source.program.model;
  inputs.heading.parameters = source.parameters;
  inputs.heading.assumed = source.checkpoint == nullptr && flags.machine.formats.matrices.empty();
  inputs.heading.price = flags.price;
  DUNLIN_RETURN_IF_ERROR(prepare_machine(machine, source, workload, inputs));
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
    DUNLIN_ASSIGN_OR_RETURN(const CpuRates rates, calibrate_this_cpu(flags.machine.threads));
    if (flags.model.empty()) {
      fmt::print("{}", to_json(rates));
      return {};
    }
  }
  if (flags.model.empty())
    return usage_error("plan: name a model (a directory, a .gguf file or a config.json)");
  return plan_model(flags);
}

void add_model_flags(Command command, PlanFlags& flags) {
  add_flag(command, "model,-m,--model", flags.model,
           "Hugging Face directory, .gguf file, or a config.json alone")
      .transform(resolve_model);
  add_flag(command, "-c,--ctx-size,--max-model-len", flags.context,
           "positions of each sequence (auto: the model's, at most 8192, a canvas 2048)");
  add_flag(command, "--parallel,--batch,--max-num-seqs", flags.parallel,
           "sequences at a time, on all devices together (-np)")
      .check(in_range(1, 1 << 20));
  add_flag(command, "--prompt", flags.prompt, "tokens of each prompt").check(in_range(1, 1 << 30));
  flags.step.add_to(command);
  add_flag(command, "--fill", flags.fill,
           "share of the context that is filled while decoding, on average")
      .check(in_real_range(0, 1));
  add_flag(command, "--layers", flags.layers, "only the first N layers").check(in_range(0, 4096));
  add_switch(command, "--all-logits", flags.all_logits,
             "logits of every prompt token; of a canvas, of every row");
  const FlagGroup group(command, "Diffusion models");
  add_flag(command, "-n,--max-tokens,--n-predict,--predict", flags.masks,
           "masks behind each prompt (-1: 128)")
      .check(in_range(-1, int64_t{1} << 31));
  add_flag(command, "--steps", flags.steps, "passes of an answer (default: one per mask)")
      .check(in_range(1, 1 << 20));
  add_flag(command, "--dlm-cache", flags.cache,
           "none: a step computes the whole canvas; prefix: from the block on; dual: the block")
      .check(one_of({"none", "prefix", "dual"}))
      .default_str("none");
  add_flag(command, "--block-length", flags.block_length, "masks of a block")
      .check(in_range(1, 1 << 20))
      .default_str("32");
}

void add_storage_flags(Command command, MachineFlags& flags) {
  add_flag(command, "--quantize", flags.formats.matrices,
           "plan as if the matrices had this format: Q4_0, int8, fp8, ..; or a mix of dunlin "
           "quantize: Q4_K_M");
  add_flag(command, "--output-type", flags.formats.vocabulary,
           "the same for the embedding and output matrices");
  flags.kv_type.add_to(command, {"bf16", "int8", "f32", "q8_0", "q4_0"});
  add_flag(command, "--precision", flags.precision, "of the CPU: auto, exact, int8, fast or f32");
}

void add_device_flags(Command command, PlanFlags& flags) {
  add_flag(command, "--device", flags.machine.device,
           "cpu (this machine), v2 v3 v4 v5e v5p v6e v7x a100 h100 h200, a slice such as v5e-16 or "
           "v4-8, or a JSON file (docs/planning.md)");
  add_flag(command, "--devices", flags.machine.devices, "how many, where the name does not say it")
      .check(in_range(1, 1 << 16));
  add_flag(command, "--mesh", flags.mesh,
           "axes data, model, width, fsdp, expert, stage: data=2,model=8 (default: the fastest)");
  add_switch(command, "--split-cores", flags.machine.split_cores,
             "count each of the two cores of a v4 or v5p chip as a device");
  add_flag(command, "-t,--threads", flags.machine.threads, "of the CPU (0: one per core)")
      .check(in_range(0, 1024));
  add_switch(command, "--calibrate", flags.calibrate,
             "measure this machine and its disk first (13 s; kept for later plans)");
  add_flag(command, "--offload", flags.machine.offload,
           "auto: of cpu: memory need not hold all weights; the others are read from disk as the "
           "model runs")
      .check(one_of({"none", "auto"}));
  add_flag(command, "--disk-gb-s", flags.machine.disk_gb_s,
           "gigabytes per second of the disk that offloaded weights are read from (default: as "
           "--calibrate measured it)")
      .check(in_real_range(0.001, 1e5));
  add_flag(command, "--price", flags.price,
           "USD per hour of all devices: prints the cost of a million tokens")
      .check(in_real_range(0, 1e9));
}

}  // namespace

void add_plan_command(Command app, int& exit_code) {
  Command command =
      app.add_command("plan", "Say what fits where and how fast, without reading weights");
  auto flags = std::make_shared<PlanFlags>();
  add_model_flags(command, *flags);
  add_storage_flags(command, flags->machine);
  add_device_flags(command, *flags);
  add_flag(command, "--svg", flags->svg,
           "write charts into this folder: tokens/s over batch, memory over context");
  add_switch(command, "--json", flags->json, "print one JSON object");
  command.footer(
      "Exit code 4 when it does not fit.\n"
      "Examples:\n"
      "  dunlin plan model.gguf -c 8192\n"
      "  dunlin plan llama-70b/config.json --device v5e-16 --quantize int8 -np 32\n"
      "  dunlin plan model/ --device h100 --devices 2 --price 6.5 --json\n"
      "  dunlin plan gpt-oss/ --offload auto --disk-gb-s 3.5\n"
      "  dunlin plan dream/ --device v5e --prompt 32 -n 128 --steps 32 --dlm-cache dual\n"
      "  dunlin plan --calibrate");
  command.callback([flags, &exit_code] {
    const auto result = run_plan(*flags);
    exit_code = result.ok() ? 0 : report_error(result.error());
  });
}

}  // namespace dunlin
