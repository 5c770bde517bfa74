// `dunlin verify`: parity with reference values, tensor by tensor, and what breaks it.
#include <fmt/format.h>

#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "cli/commands.h"
#include "cli/inside_flags.h"
#include "cli/json_number.h"
#include "cli/model_name.h"
#include "cli/options.h"
#include "cli/terminal.h"
#include "parity/bisect.h"
#include "parity/kinds.h"
#include "parity/parity.h"
#include "report/table.h"

namespace dunlin {
namespace {

using Json = nlohmann::ordered_json;

struct VerifyFlags {
  std::string model, reference, dump;
  BackendFlags backend = {.precision = "f32"};
  int threads = 0;
  int64_t layers = -1;
  double tolerance = 2e-5;
  std::vector<std::string> disable;
  WatchFlags watch;
  DiffusionOverrides diffusion;
  bool bisect = false;
  bool json = false;
};

Json kinds_json(const ParityReport& report) {
  Json kinds = Json::array();
  for (const KindSummary& each : summarize_kinds(report.rows)) {
    kinds.push_back({{"kind", each.kind},
                     {"checked", each.checked},
                     {"passed", each.passed},
                     {"share", each.share()},
                     {"max_abs_diff", json_number(each.max_abs_diff)}});
  }
  return kinds;
}

Json to_json(const ParityReport& report) {
  const auto failure = report.first_failure();
  Json rows = Json::array();
  for (const ParityRow& row : report.rows) {
    rows.push_back({{"name", row.name},
                    {"pass", row.pass},
                    {"max_abs_diff", json_number(row.max_abs_diff)},
                    {"allowed", row.allowed}});
  }
  return {{"schema_version", 1},
          {"pass", report.pass()},
          {"checked", report.rows.size()},
          {"passed", report.passed()},
          {"max_abs_diff", json_number(report.max_abs_diff())},
          {"first_failure", failure ? Json(*failure) : Json(nullptr)},
          {"isa", report.isa},
          {"kinds", kinds_json(report)},
          {"tensors", std::move(rows)},
          {"ignored", report.ignored}};
}

// Empty where nothing was compared.
std::string kinds_table(const ParityReport& report) {
  std::vector<std::vector<std::string>> rows;
  for (const KindSummary& each : summarize_kinds(report.rows)) {
    rows.push_back({each.kind, fmt::format("{} of {}", each.passed, each.checked),
                    fmt::format("{:.1f} %", 100 * each.share()),
                    fmt::format("{:.3g}", each.max_abs_diff)});
  }
  if (rows.empty()) return {};
  const std::vector<TableColumn> columns = {
      {"kind"}, {"agree", true}, {"share", true}, {"largest difference", true}};
  return "\n" + aligned_table(columns, rows) + "\n";
}

void print_table(const ParityReport& report) {
  for (const ParityRow& row : report.rows) {
    fmt::print("{:4} {:16} {:10.3g} of {:10.3g} allowed{}\n", row.pass ? "ok" : "FAIL", row.name,
               row.max_abs_diff, row.allowed,
               row.pass ? std::string() : fmt::format("   at {}", row.where));
  }
  fmt::print("{}", kinds_table(report));
  if (!report.ignored.empty())
    fmt::print("not produced by this model: {}\n", fmt::join(report.ignored, " "));
  const auto failure = report.first_failure();
  fmt::print("{} of {} tensors agree{}\n", report.passed(), report.rows.size(),
             failure ? fmt::format("; the first that differs is {}", *failure) : std::string());
}

Result<ParityOptions> parity_options(const VerifyFlags& flags) {
  DUNLIN_ASSIGN_OR_RETURN(const ModelOptions model, flags.backend.options());
  ParityOptions options{.backend = model.backend,
                        .device = model.device,
                        .mesh = model.mesh,
                        .xla_options = model.xla_options,
                        .isolate = model.isolate,
                        .precision = model.precision,
                        .kv_type = model.kv_type,
                        .load_mode = model.load_mode,
                        .pack_cache = model.pack_cache,
                        .offload = model.offload,
                        .quantize = model.quantize,
                        .threads = flags.threads,
                        .tolerance = flags.tolerance,
                        .dump = flags.dump,
                        .layers = flags.layers,
                        .diffusion = flags.diffusion};
  options.disabled = disabled_optimizations(flags.disable);
  DUNLIN_ASSIGN_OR_RETURN(options.watch, flags.watch.watch(/*quiet=*/false));
  return options;
}

Result<Bisection> bisect_failure(const VerifyFlags& flags, const ParityOptions& options) {
  return bisect(flags.model, flags.reference, options,
                [](const std::vector<std::string>& disabled) -> Result<void> {
                  note("comparing without {}\n",
                       disabled.empty() ? "any optimisation, on the reference back end"
                                        : fmt::format("{}", fmt::join(disabled, ", ")));
                  return {};
                });
}

// What is to blame, in a sentence.
std::string verdict(const Bisection& bisection) {
  if (!bisection.culprits.empty()) {
    return fmt::format("without {} every tensor agrees (--disable {})",
                       fmt::join(bisection.culprits, " and "), fmt::join(bisection.culprits, ","));
  }
  if (!bisection.reference_passes.has_value())
    return "no optimisation is to blame: the reference back end has none";
  return *bisection.reference_passes
             ? "no optimisation is to blame, but the reference back end agrees: a scalar kernel or "
               "the planning of a step is wrong"
             : "no optimisation is to blame, and the reference back end differs as well: the "
               "model, its file or the reference values are wrong";
}

Json to_json(const Bisection& bisection) {
  return {{"culprits", bisection.culprits},
          {"reference_passes",
           bisection.reference_passes ? Json(*bisection.reference_passes) : Json(nullptr)},
          {"comparisons", bisection.comparisons},
          {"verdict", verdict(bisection)}};
}

Result<int> verify(const VerifyFlags& flags) {
  DUNLIN_ASSIGN_OR_RETURN(const ParityOptions options, parity_options(flags));
  DUNLIN_ASSIGN_OR_RETURN(const ParityReport report,
                          compare_with_reference(flags.model, flags.reference, options));
  std::optional<Bisection> bisection;
  if (flags.bisect && !report.pass()) {
    DUNLIN_ASSIGN_OR_RETURN(bisection, bisect_failure(flags, options));
  }
  if (flags.json) {
    Json object = to_json(report);
    if (bisection) object["bisection"] = to_json(*bisection);
    fmt::print("{}\n", object.dump());
  } else {
    print_table(report);
    if (bisection) fmt::print("{}\n", verdict(*bisection));
  }
  return report.pass() ? 0 : static_cast<int>(ErrorKind::verification);
}

void add_diffusion_flags(Command command, DiffusionOverrides& overrides) {
  const FlagGroup group(command, "Diffusion models, instead of what the reference names");
  add_flag(command, "--eps", overrides.eps, "time at which the schedule ends")
      .check(in_real_range(1e-6, 1.0 - 1e-6));
  add_flag(command, "--steps", overrides.fast_steps, "steps of fast.nocache")
      .check(in_range(1, 1 << 20));
  add_flag(command, "--block-length", overrides.block_length, "of fast.prefix and fast.dual")
      .check(in_range(1, 1 << 20));
  add_flag(command, "--threshold", overrides.threshold, "of fast.*").check(in_real_range(0.0, 1.0));
}

}  // namespace

void add_verify_command(Command app, int& exit_code) {
  Command command = app.add_command("verify", "Compare a model's values with reference values");
  auto flags = std::make_shared<VerifyFlags>();
  add_flag(command, "model,-m,--model", flags->model, "Hugging Face directory or .gguf file")
      .required()
      .type_name("MODEL")
      .transform(resolve_model);
  add_flag(command, "--ref", flags->reference, "safetensors file with the reference values")
      .required()
      .type_name("FILE");
  flags->backend.add_to(command);
  add_flag(command, "-t,--threads", flags->threads, "threads (0: one per core)")
      .check(in_range(0, 1024));
  add_flag(command, "--tol", flags->tolerance,
           "allowed difference relative to the largest logit; three times that inside")
      .check(in_real_range(0.0, 1e9));
  add_flag(command, "--dump", flags->dump,
           "write the engine's own values to this safetensors file; an older dump is replaced")
      .type_name("FILE");
  add_layers_flag(command, flags->layers,
                  "run only the first N layers and compare what is inside them");
  add_disable_flag(command, flags->disable);
  flags->watch.add_to(command);
  add_diffusion_flags(command, flags->diffusion);
  add_switch(command, "--bisect", flags->bisect,
             "when a tensor differs, find the optimisation that is to blame");
  add_switch(command, "--json", flags->json, "print one JSON object");
  command.footer(
      "Examples:\n"
      "  dunlin verify model/ --ref golden.safetensors --backend reference\n"
      "  dunlin verify model/ --ref golden.safetensors --bisect\n"
      "  dunlin verify model/ --ref golden.safetensors --watch 'layers.3.*' --until nonfinite");
  command.callback([flags, &exit_code] {
    const auto result = verify(*flags);
    exit_code = result.ok() ? *result : report_error(result.error());
  });
}

}  // namespace dunlin
