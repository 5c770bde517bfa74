// `dunlin compile`: a model's programs ahead of time, for the device that is here or for one that is
// not.
#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <iterator>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "backend/pjrt/compile_ahead.h"
#include "cli/answer.h"
#include "cli/commands.h"
#include "cli/flags.h"
#include "cli/inside_flags.h"
#include "cli/model_name.h"
#include "cli/options.h"
#include "cli/plan_output.h"
#include "cli/plan_source.h"
#include "cli/terminal.h"
#include "models/registry.h"
#include "planner/device.h"
#include "report/table.h"

namespace dunlin {
namespace {

using Json = nlohmann::ordered_json;

struct CompileFlags {
  std::string model, topology, device, mesh;
  std::string context = "auto";
  std::string precision = "auto";
  std::vector<std::string> xla_options;
  IsolateFlags isolate;
  BatchFlags step;
  int64_t parallel = 1;
  int64_t steps_per_call = 0;
  int64_t layers = -1;
  int threads = 0;
  bool json = false, quiet = false;
};

// What the catalogue knows of the devices of a topology; 0: nothing.
int64_t catalogue_memory(const std::string& topology) {
  const auto slice = parse_slice(topology.substr(0, topology.find(':')), /*split_cores=*/false);
  return slice.ok() ? slice->device.memory_bytes : 0;
}

Result<AheadOptions> ahead_options(const CompileFlags& flags, const PlanSource& source) {
  ModelOptions model{.sequences = flags.parallel, .rows = flags.step.rows()};
  DUNLIN_ASSIGN_OR_RETURN(model.context, parse_size("--ctx-size", flags.context));
  DUNLIN_ASSIGN_OR_RETURN(const MeshShape mesh, parse_mesh_flag(flags.mesh));
  AheadOptions options{.pjrt = {.device = flags.device,
                                .mesh = mesh,
                                .xla_options = flags.xla_options,
                                .steps_per_call = flags.steps_per_call},
                       .topology = flags.topology};
  DUNLIN_ASSIGN_OR_RETURN(options.pjrt.isolate, flags.isolate.options());
  if (!flags.topology.empty()) options.memory_bytes = catalogue_memory(flags.topology);
  DUNLIN_ASSIGN_OR_RETURN(options.compile.precision, parse_precision(flags.precision));
  DUNLIN_ASSIGN_OR_RETURN(const auto diffusion, diffusion_of(source.config));
  DUNLIN_ASSIGN_OR_RETURN(options.compile.limits,
                          step_limits(model, source.trained_context, diffusion.has_value()));
  options.compile.threads = flags.threads;
  return options;
}

int64_t loaded_programs(const AheadResult& result) {
  return std::ranges::count_if(result.programs, &AheadProgram::from_cache);
}

// Of the program that needs most; 0 where no program tells.
int64_t device_bytes(const AheadResult& result) {
  int64_t most = 0;
  for (const AheadProgram& program : result.programs) {
    if (program.bytes) most = std::max(most, program.bytes->total());
  }
  return most;
}

Json or_null(int64_t number) {
  return number > 0 ? Json(number) : Json(nullptr);
}

Json or_null(const std::string& text) {
  return text.empty() ? Json(nullptr) : Json(text);
}

Json to_json(const AheadProgram& program) {
  const auto bytes = [&program](int64_t AheadBytes::* field) {
    return program.bytes ? Json((*program.bytes).*field) : Json(nullptr);
  };
  return {{"name", program.name},
          {"from_cache", program.from_cache},
          {"seconds", program.seconds},
          {"argument_bytes", bytes(&AheadBytes::arguments)},
          {"output_bytes", bytes(&AheadBytes::outputs)},
          {"aliased_bytes", bytes(&AheadBytes::aliased)},
          {"temporary_bytes", bytes(&AheadBytes::temporary)},
          {"code_bytes", bytes(&AheadBytes::code)},
          {"total_bytes", program.bytes ? Json(program.bytes->total()) : Json(nullptr)},
          {"estimated_cycles",
           program.estimated_cycles ? Json(*program.estimated_cycles) : Json(nullptr)}};
}

Json to_json(const AheadResult& result, const CompileFlags& flags, int64_t devices,
             double seconds) {
  Json programs = Json::array();
  for (const AheadProgram& program : result.programs) programs.push_back(to_json(program));
  const int64_t loaded = loaded_programs(result);
  return {{"schema_version", 1},
          {"model", flags.model},
          {"topology", or_null(flags.topology)},
          {"devices", devices},
          {"mesh", or_null(flags.mesh)},
          {"plugin", result.plugin},
          {"program_folder", or_null(result.program_folder)},
          {"per_device",
           {{"weights_bytes", result.weights_bytes},
            {"weight_forms", result.weight_forms},
            {"kv_bytes", result.kv_bytes},
            {"total_bytes", or_null(device_bytes(result))},
            {"capacity_bytes", or_null(result.memory_bytes)}}},
          {"compiled", std::ssize(result.programs) - loaded},
          {"loaded", loaded},
          {"seconds", seconds},
          {"programs", std::move(programs)}};
}

std::string programs_table(const AheadResult& result) {
  std::vector<TableColumn> columns = {{"program"},         {"source"},        {"seconds", true},
                                      {"arguments", true}, {"outputs", true}, {"temporary", true},
                                      {"total", true}};
  const bool estimated = std::ranges::any_of(
      result.programs, [](const AheadProgram& it) { return it.estimated_cycles.has_value(); });
  if (estimated) columns.push_back({"Mcycles", true});
  const auto text = [](int64_t bytes) { return bytes_text(static_cast<double>(bytes)); };
  std::vector<std::vector<std::string>> rows;
  for (const AheadProgram& program : result.programs) {
    std::vector<std::string> row = {program.name, program.from_cache ? "cache" : "compiled",
                                    fmt::format("{:.2f}", program.seconds)};
    if (const auto& bytes = program.bytes) {
      row.insert(row.end(), {text(bytes->arguments), text(bytes->outputs - bytes->aliased),
                             text(bytes->temporary), text(bytes->total())});
    } else {
      row.insert(row.end(), 4, "-");
    }
    if (estimated) {
      const double cycles = static_cast<double>(program.estimated_cycles.value_or(0));
      row.push_back(fmt::format("{:.2f}", cycles / 1e6));
    }
    rows.push_back(std::move(row));
  }
  return aligned_table(columns, rows);
}

std::string summary(const AheadResult& result, double seconds) {
  const int64_t loaded = loaded_programs(result);
  return fmt::format("{} compiled, {} loaded in {:.1f} s{}\n", std::ssize(result.programs) - loaded,
                     loaded, seconds,
                     result.program_folder.empty() ? "" : "; kept in " + result.program_folder);
}

Result<void> compile_model(const CompileFlags& flags) {
  DUNLIN_ASSIGN_OR_RETURN(const PlanSource source, open_plan_source(flags.model, flags.layers));
  DUNLIN_ASSIGN_OR_RETURN(AheadOptions options, ahead_options(flags, source));
  ProgressBar bar(!flags.quiet);
  options.compile.progress = [&bar](double fraction, const std::string& what) {
    bar.update(fraction, what);
  };
  const auto start = std::chrono::steady_clock::now();
  const auto result = compile_ahead(source.program, source.weights, options);
  bar.clear();
  if (!result.ok()) return result.error();
  const std::chrono::duration<double> time = std::chrono::steady_clock::now() - start;
  if (flags.json) {
    fmt::print("{}\n",
               json_line(to_json(*result, flags, options.pjrt.mesh.devices(), time.count())));
    return {};
  }
  fmt::print("{}", programs_table(*result));
  if (flags.quiet) return {};
  note("weights  {}, KV cache {}\n", bytes_text(static_cast<double>(result->weights_bytes)),
       bytes_text(static_cast<double>(result->kv_bytes)));
  note("forms    {}\n", result->weight_forms);
  note("programs {}", summary(*result, time.count()));
  return {};
}

void add_compile_flags(Command command, CompileFlags& flags) {
  add_flag(command, "model,-m,--model", flags.model,
           "Hugging Face directory, .gguf file, or a config.json alone")
      .required()
      .type_name("MODEL")
      .check(not_empty())
      .transform(resolve_model);
  add_flag(command, "--topology", flags.topology,
           "devices that need not be here: h100, h200, or TPUs with their grid (v5e:1x1), as many "
           "as --mesh has")
      .check(not_empty());
  add_flag(command, "--device", flags.device,
           "cpu-xla, tpu, gpu, or the path of a plug-in (default: cpu-xla, or what compiles for "
           "--topology)");
  add_mesh_flag(command, flags.mesh);
  add_xla_option_flag(command, flags.xla_options);
  add_steps_per_call_flag(command, flags.steps_per_call);
  flags.isolate.add_to(command);
  add_flag(command, "-c,--ctx-size,--max-model-len", flags.context,
           "context in tokens (auto: the model's, at most 8192)");
  add_flag(command, "--parallel,--max-num-seqs", flags.parallel, "sequences at a time (-np)")
      .check(in_range(1, 1024));
  flags.step.add_to(command);
  add_flag(command, "--precision", flags.precision,
           "the arithmetic (docs/decisions/0002-numerics.md)")
      .check(one_of({"auto", "exact", "f32"}));
  add_layers_flag(command, flags.layers, "only the first N layers");
  add_flag(command, "-t,--threads", flags.threads,
           "programs that are compiled at a time (0: one per core)")
      .check(in_range(0, 1024));
  add_switch(command, "--json", flags.json, "print one JSON object");
  add_switch(command, "-q,--quiet", flags.quiet, "no progress and no summary");
}

}  // namespace

void add_compile_command(Command app, int& exit_code) {
  Command command =
      app.add_command("compile", "Compile a model's programs for a PJRT device ahead of time");
  auto flags = std::make_shared<CompileFlags>();
  add_compile_flags(command, *flags);
  command.footer(
      "For the device that is here the programs are kept in ~/.cache/dunlin/compiled, where a\n"
      "command with --backend pjrt and the same -c, -np, -ub, --mesh, --steps-per-call and\n"
      "--xla-option finds them.\n"
      "For a --topology the table says what each program needs of a device; nothing is kept. Exit\n"
      "code 4 when it does not fit. Weights are not read.\n"
      "Examples:\n"
      "  dunlin compile model/ -c 4096 -np 8\n"
      "  dunlin compile model.gguf --device gpu --xla-option xla_gpu_autotune_level=0\n"
      "  dunlin compile llama-8b/config.json --topology h100 -c 8192 --json\n"
      "  dunlin compile llama-8b/config.json --topology v5e:2x2 --mesh model=4");
  command.callback([flags, &exit_code] {
    const auto result = compile_model(*flags);
    exit_code = result.ok() ? 0 : report_error(result.error());
  });
}

}  // namespace dunlin
