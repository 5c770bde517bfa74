// `dunlin verify`: parity with reference values, tensor by tensor.
#include <fmt/format.h>

#include <cmath>
#include <nlohmann/json.hpp>

#include "cli/commands.h"
#include "cli/options.h"
#include "parity/parity.h"

namespace dunlin {
namespace {

using Json = nlohmann::ordered_json;

struct VerifyFlags {
  std::string model, reference, dump;
  std::string backend = "cpu";
  std::string device = {};
  std::string precision = "f32";
  int threads = 0;
  double tolerance = 2e-5;
  bool json = false;
};

// JSON has no infinity; a difference that is not a number is printed as null.
Json number(double value) {
  return std::isfinite(value) ? Json(value) : Json(nullptr);
}

Json to_json(const ParityReport& report) {
  const auto failure = report.first_failure();
  Json rows = Json::array();
  for (const ParityRow& row : report.rows) {
    rows.push_back({{"name", row.name},
                    {"pass", row.pass},
                    {"max_abs_diff", number(row.max_abs_diff)},
                    {"allowed", row.allowed}});
  }
  return {{"schema_version", 1},
          {"pass", report.pass()},
          {"checked", report.rows.size()},
          {"passed", report.passed()},
          {"max_abs_diff", number(report.max_abs_diff())},
          {"first_failure", failure ? Json(*failure) : Json(nullptr)},
          {"isa", report.isa},
          {"tensors", std::move(rows)},
          {"ignored", report.ignored}};
}

void print_table(const ParityReport& report) {
  for (const ParityRow& row : report.rows) {
    fmt::print("{:4} {:16} {:10.3g} of {:10.3g} allowed{}\n", row.pass ? "ok" : "FAIL", row.name,
               row.max_abs_diff, row.allowed,
               row.pass ? std::string() : fmt::format("   at {}", row.where));
  }
  if (!report.ignored.empty())
    fmt::print("not produced by this model: {}\n", fmt::join(report.ignored, " "));
  const auto failure = report.first_failure();
  fmt::print("{} of {} tensors agree{}\n", report.passed(), report.rows.size(),
             failure ? fmt::format("; the first that differs is {}", *failure) : std::string());
}

Result<int> verify(const VerifyFlags& flags) {
  DUNLIN_ASSIGN_OR_RETURN(const Precision precision, parse_precision(flags.precision));
  DUNLIN_ASSIGN_OR_RETURN(const ParityReport report,
                          compare_with_reference(flags.model, flags.reference,
                                                 {.backend = flags.backend,
                                                  .device = flags.device,
                                                  .precision = precision,
                                                  .threads = flags.threads,
                                                  .tolerance = flags.tolerance,
                                                  .dump = flags.dump}));
  if (flags.json) {
    fmt::print("{}\n", to_json(report).dump());
  } else {
    print_table(report);
  }
  return report.pass() ? 0 : static_cast<int>(ErrorKind::verification);
}

}  // namespace

void add_verify_command(CLI::App& app, int& exit_code) {
  CLI::App* command =
      app.add_subcommand("verify", "Compare a model's values with reference values");
  auto flags = std::make_shared<VerifyFlags>();
  add_flag(*command, "model,-m,--model", flags->model, "Hugging Face directory or .gguf file")
      ->required();
  add_flag(*command, "--ref", flags->reference, "safetensors file with the reference values")
      ->required();
  add_flag(*command, "--backend", flags->backend, "cpu, reference or pjrt");
  add_flag(*command, "--device", flags->device,
           "of pjrt: cpu-xla (default), tpu, gpu, or the path of a plug-in");
  add_flag(*command, "--precision", flags->precision, "arithmetic: f32 (default), exact, auto");
  add_flag(*command, "-t,--threads", flags->threads, "threads (0: one per core)");
  add_flag(*command, "--tol", flags->tolerance,
           "allowed difference relative to the largest logit; three times that inside")
      ->check(CLI::Range(0.0, 1e9));
  add_flag(*command, "--dump", flags->dump,
           "write the engine's own values to this safetensors file");
  add_switch(*command, "--json", flags->json, "print one JSON object");
  command->footer("Example:\n  dunlin verify model/ --ref golden.safetensors --backend reference");
  command->callback([flags, &exit_code] {
    const auto result = verify(*flags);
    exit_code = result.ok() ? *result : report_error(result.error());
  });
}

}  // namespace dunlin
