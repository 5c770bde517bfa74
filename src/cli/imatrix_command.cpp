// `dunlin imatrix`: the importance matrix of a model over a text, for `dunlin quantize --imatrix`.
#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <filesystem>
#include <string>

#include "checkpoint/checkpoint.h"
#include "checkpoint/families.h"
#include "checkpoint/gguf_names.h"
#include "cli/answer.h"
#include "cli/commands.h"
#include "cli/interrupt.h"
#include "cli/options.h"
#include "cli/read_input.h"
#include "cli/terminal.h"
#include "convert/imatrix.h"
#include "eval/evaluate.h"
#include "eval/importance.h"

namespace dunlin {
namespace {

using Clock = std::chrono::steady_clock;

struct ImatrixFlags {
  ModelFlags model;
  std::string file;
  std::string out = "imatrix.gguf";
  int64_t chunks = -1;
  bool process_output = false;
  bool json = false;
};

// Nothing but an older importance matrix is replaced.
Result<void> check_imatrix_target(const std::string& path) {
  std::error_code ignored;
  if (!std::filesystem::exists(path, ignored) || read_imatrix(path).ok()) return {};
  return usage_error(fmt::format("{}: is there and is no importance matrix", path));
}

class Imatrix {
 public:
  explicit Imatrix(const ImatrixFlags& flags) : flags_(flags) {}

  Result<int> run() {
    DUNLIN_RETURN_IF_ERROR(check_imatrix_target(flags_.out));
    DUNLIN_ASSIGN_OR_RETURN(ModelOptions options, flags_.model.options());
    DUNLIN_ASSIGN_OR_RETURN(const std::string text, read_user_file(flags_.file, kMostCorpusBytes));
    DUNLIN_ASSIGN_OR_RETURN(const Corpus corpus, encode_corpus(flags_.model.model, text));
    WindowOptions windows{.most = flags_.chunks};
    if (options.context != 0) windows.window = windows.stride = options.context;
    const auto plan = plan_windows(std::ssize(corpus.ids), windows);
    if (!plan.ok()) return plan.error().with_context(flags_.file);
    DUNLIN_ASSIGN_OR_RETURN(const auto measurement,
                            ImportanceMeasurement::prepare(flags_.model.model));
    options.watch = measurement.watch();
    catch_interrupts();
    const auto start = Clock::now();
    const auto result = measure(corpus, *plan, options);
    if (pending_interrupt() != 0) return exit_code_of_signal(pending_interrupt());
    if (!result.ok()) return result.error();
    DUNLIN_ASSIGN_OR_RETURN(const auto checkpoint, open_checkpoint(flags_.model.model));
    DUNLIN_ASSIGN_OR_RETURN(const StoredFamily* const family, stored_family(checkpoint->config()));
    const ImportanceMatrix imatrix = to_matrix(*family, measurement.squares(), *plan);
    DUNLIN_RETURN_IF_ERROR(write_imatrix(imatrix, flags_.out));
    note_unmeasured(imatrix);
    print(imatrix, *result, std::chrono::duration<double>(Clock::now() - start).count());
    return 0;
  }

 private:
  Result<EvalResult> measure(const Corpus& corpus, const WindowPlan& plan,
                             const ModelOptions& options) const {
    DUNLIN_ASSIGN_OR_RETURN(
        const auto model,
        load_with_banner(flags_.model, eval_model_options(options, plan, corpus.vocabulary)));
    ProgressBar bar(!flags_.model.quiet);
    return evaluate(
        *model, nullptr, corpus, plan, [&bar](const EvalProgress& progress) -> Result<void> {
          bar.update(progress.fraction, fmt::format("perplexity {:.4f}", progress.perplexity));
          if (pending_interrupt() != 0) return runtime_error("interrupted");
          return {};
        });
  }

  // llama-imatrix leaves the output out, too, unless it is asked for: its inputs are those of scored
  // rows only.
  bool wanted(const std::string& gguf_name) const {
    return flags_.process_output || gguf_name.starts_with("blk.");
  }

  ImportanceMatrix to_matrix(const StoredFamily& family,
                             const std::map<std::string, InputSquares>& squares,
                             const WindowPlan& plan) const {
    ImportanceMatrix imatrix{
        .datasets = {flags_.file}, .chunks = plan.count, .chunk_size = plan.window};
    for (const auto& [weight, inputs] : squares) {
      const auto name = gguf_tensor_name(family, weight);
      if (!name || !wanted(*name)) continue;
      std::vector<float>& means = imatrix.columns[*name];
      const size_t columns = inputs.sums.size() / inputs.rows.size();
      for (size_t i = 0; i < inputs.sums.size(); ++i) {
        const auto rows = static_cast<double>(inputs.rows[i / columns]);
        means.push_back(rows > 0 ? static_cast<float>(inputs.sums[i] / rows) : 1.0f);
      }
      imatrix.rows[*name] = inputs.rows;
    }
    return imatrix;
  }

  // Gate, up and down of a layer have the same experts: a line for each layer.
  static void note_unmeasured(const ImportanceMatrix& imatrix) {
    for (const auto& [name, rows] : imatrix.rows) {
      const auto never = std::ranges::count(rows, 0);
      if (rows.size() == 1 || never == 0 || name.find("ffn_down") == std::string::npos) continue;
      note("{}: {} of {} experts were never chosen; their columns count alike\n",
           name.substr(0, name.find(".ffn_down")), never, rows.size());
    }
  }

  void print(const ImportanceMatrix& imatrix, const EvalResult& result, double seconds) const {
    if (flags_.json) {
      fmt::print("{}\n", json_line({{"schema_version", 1},
                                    {"output", flags_.out},
                                    {"matrices", imatrix.columns.size()},
                                    {"windows", imatrix.chunks},
                                    {"window", imatrix.chunk_size},
                                    {"perplexity", result.perplexity.value},
                                    {"seconds", seconds}}));
      return;
    }
    fmt::print("{}: {} matrices, measured over {} windows of {} tokens\n", flags_.out,
               imatrix.columns.size(), imatrix.chunks, imatrix.chunk_size);
    fmt::print("perplexity {:.4f} +/- {:.4f}\n", result.perplexity.value, result.perplexity.error);
  }

  const ImatrixFlags& flags_;
};

}  // namespace

void add_imatrix_command(Command app, int& exit_code) {
  Command command = app.add_command(
      "imatrix", "Measure which weights matter over a text, for quantize --imatrix");
  auto flags = std::make_shared<ImatrixFlags>();
  flags->model.add_to(command);
  add_flag(command, "file", flags->file, "the text (-: stdin)").required().type_name("FILE");
  add_flag(command, "-o,--output", flags->out, "the file to write; an older one is replaced")
      .check(not_empty())
      .type_name("FILE");
  add_flag(command, "--chunks", flags->chunks, "only the first so many windows of -c (512) tokens")
      .check(in_range(1, 1 << 30))
      .default_str("");
  add_switch(
      command, "--process-output", flags->process_output,
      "the matrix of the logits too; its inputs are those of the scored half of each window");
  add_switch(command, "--json", flags->json, "print one JSON object");
  command.footer(
      "Examples:\n"
      "  dunlin imatrix model/ text.txt\n"
      "  dunlin imatrix model-F16.gguf text.txt -o model.imatrix.gguf --chunks 100\n"
      "  dunlin quantize model/ model-Q4_K_M.gguf Q4_K_M --imatrix imatrix.gguf\n"
      "The text should be like what the model will read and write; 100 windows are enough.\n"
      "llama-quantize reads the file too. Of a mixture each expert's matrices are measured over\n"
      "the rows that were routed to it; the columns of an expert that no row chose count alike,\n"
      "and a line says so.");
  command.callback([flags, &exit_code] {
    const auto result = Imatrix(*flags).run();
    exit_code = result.ok() ? *result : report_error(result.error());
  });
}

}  // namespace dunlin
