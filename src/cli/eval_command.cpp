// `dunlin eval`: perplexity of a model over a text, and its distance from a reference model.
#include <fmt/format.h>

#include <chrono>
#include <cstdio>

#include "cli/answer.h"
#include "cli/commands.h"
#include "cli/inside_flags.h"
#include "cli/interrupt.h"
#include "cli/json_number.h"
#include "cli/model_name.h"
#include "cli/offload_report.h"
#include "cli/options.h"
#include "cli/read_input.h"
#include "cli/terminal.h"
#include "eval/evaluate.h"

namespace dunlin {
namespace {

using Json = nlohmann::ordered_json;
using Clock = std::chrono::steady_clock;

struct EvalFlags {
  ModelFlags model;
  WatchFlags watch;
  std::string file, reference, reference_precision;
  int64_t window = 0;  // 0: --ctx-size, else llama-perplexity's 512
  int64_t stride = 0;  // 0: the window
  int64_t chunks = -1;
  bool json = false;
};

Result<std::string> read_eval_text(const std::string& path) {
  DUNLIN_ASSIGN_OR_RETURN(std::string text, read_user_file(path, kMostCorpusBytes));
  if (text.empty())
    return usage_error(fmt::format("{}: there is no text in it", path == "-" ? "stdin" : path));
  return text;
}

Result<WindowOptions> window_options(const EvalFlags& flags) {
  WindowOptions options;
  DUNLIN_ASSIGN_OR_RETURN(const int64_t context, parse_size("--ctx-size", flags.model.context));
  if (flags.window != 0 && context != 0 && flags.window != context) {
    return usage_error(
        fmt::format("--window {} and --ctx-size {} name two windows", flags.window, context));
  }
  if (context != 0) options.window = context;
  if (flags.window != 0) options.window = flags.window;
  options.stride = flags.stride == 0 ? options.window : flags.stride;
  options.most = flags.chunks;
  return options;
}

struct Report {
  EvalResult result;
  WindowPlan plan;
  int64_t text_tokens;
  double seconds;
};

Json to_json(const Report& report, const Model& model) {
  const EvalResult& result = report.result;
  const auto& reference = result.reference;
  const auto of_reference = [&](double value) {
    return reference ? json_number(value) : Json(nullptr);
  };
  const EvalResult::AgainstReference against = reference.value_or(EvalResult::AgainstReference{});
  return {{"schema_version", 1},
          {"perplexity", json_number(result.perplexity.value)},
          {"perplexity_error", json_number(result.perplexity.error)},
          {"tokens", result.tokens},
          {"window", report.plan.window},
          {"stride", report.plan.stride},
          {"kl_mean", of_reference(against.kl_mean)},
          {"kl_p99", of_reference(against.kl_p99)},
          {"top1_agreement", of_reference(against.top1_agreement)},
          {"ref_perplexity", of_reference(against.perplexity.value)},
          {"windows", report.plan.count},
          {"text_tokens", report.text_tokens},
          {"seconds", report.seconds},
          {"precision", precision_name(model.options.precision)},
          {"kv_type", kv_type_name(*model.options.kv_type)},
          {"isa", model.executable->isa()}};
}

void print_report(const Report& report) {
  const EvalResult& result = report.result;
  const WindowPlan& plan = report.plan;
  fmt::print("perplexity  {:.4f} +/- {:.4f}\n", result.perplexity.value, result.perplexity.error);
  fmt::print("tokens      {} scored of {}: the last {} of each of {} windows of {}\n",
             result.tokens, report.text_tokens, plan.scored(), plan.count, plan.window);
  if (result.reference) {
    fmt::print("reference   perplexity {:.4f} +/- {:.4f}\n", result.reference->perplexity.value,
               result.reference->perplexity.error);
    fmt::print("KL          mean {:.6f}, 99 % below {:.6f} (nats per token, from the reference)\n",
               result.reference->kl_mean, result.reference->kl_p99);
    fmt::print("top 1       the same best token in {:.2f} % of the places\n",
               100 * result.reference->top1_agreement);
  }
}

// Both models, the reference only where one is asked for, and the evaluation.
class Eval {
 public:
  explicit Eval(const EvalFlags& flags) : flags_(flags) {}

  Result<int> run() {
    DUNLIN_ASSIGN_OR_RETURN(const WindowOptions windows, window_options(flags_));
    DUNLIN_ASSIGN_OR_RETURN(ModelOptions options, flags_.model.options());
    DUNLIN_ASSIGN_OR_RETURN(options.watch, flags_.watch.watch(flags_.model.quiet));
    // What is wrong with the text or the vocabularies shows before any weights are read.
    DUNLIN_ASSIGN_OR_RETURN(const std::string text, read_eval_text(flags_.file));
    DUNLIN_ASSIGN_OR_RETURN(const Corpus corpus, encode_corpus(flags_.model.model, text));
    const auto planned = plan_windows(std::ssize(corpus.ids), windows);
    if (!planned.ok()) return planned.error().with_context(flags_.file);
    if (!flags_.reference.empty())
      DUNLIN_RETURN_IF_ERROR(check_same_vocabulary(flags_.model.model, flags_.reference));
    catch_interrupts();
    return evaluate_corpus(corpus, *planned,
                           eval_model_options(std::move(options), *planned, corpus.vocabulary));
  }

 private:
  Result<int> evaluate_corpus(const Corpus& corpus, const WindowPlan& plan,
                              const ModelOptions& options) {
    DUNLIN_ASSIGN_OR_RETURN(const auto model, load_with_banner(flags_.model, options));
    std::unique_ptr<Model> reference;
    if (!flags_.reference.empty()) {
      DUNLIN_ASSIGN_OR_RETURN(reference, load_reference(options));
    }
    const auto start = Clock::now();
    // Statistics of a watch and a bar would overwrite each other.
    ProgressBar bar(!flags_.model.quiet && options.watch == nullptr);
    const auto result = evaluate(
        *model, reference.get(), corpus, plan, [&](const EvalProgress& progress) -> Result<void> {
          bar.update(progress.fraction, fmt::format("perplexity {:.4f}", progress.perplexity));
          if (pending_interrupt() != 0) return runtime_error("interrupted");
          if (options.watch != nullptr && options.watch->hit()) return *options.watch->hit();
          return {};
        });
    bar.clear();
    if (pending_interrupt() != 0) return exit_code_of_signal(pending_interrupt());
    // Before what the node made of the logits.
    if (options.watch != nullptr && options.watch->hit()) return *options.watch->hit();
    if (!result.ok()) return result.error();
    const double seconds = std::chrono::duration<double>(Clock::now() - start).count();
    print({*result, plan, std::ssize(corpus.ids), seconds}, *model);
    if (flags_.model.verbose) note("{}", offload_text(model->executable->offload()));
    return 0;
  }

  Result<std::unique_ptr<Model>> load_reference(ModelOptions options) const {
    options.watch = nullptr;
    // These flags are about the model.
    options.quantize.clear();
    options.kv_type.reset();
    if (!flags_.reference_precision.empty()) {
      DUNLIN_ASSIGN_OR_RETURN(options.precision, parse_precision(flags_.reference_precision));
    }
    ModelFlags flags = flags_.model;
    flags.model = flags_.reference;
    return load_with_banner(flags, options);
  }

  void print(const Report& report, const Model& model) const {
    if (flags_.json) {
      fmt::print("{}\n", json_line(to_json(report, model)));
      return;
    }
    print_report(report);
    if (flags_.model.quiet) return;
    const auto rows = static_cast<double>(report.plan.count * report.plan.rows());
    note("{} windows in {:.1f} s, {:.0f} tokens per second\n", report.plan.count, report.seconds,
         rows / report.seconds);
  }

  const EvalFlags& flags_;
};

}  // namespace

void add_eval_command(Command app, int& exit_code) {
  Command command = app.add_command("eval", "Perplexity over a text, distance from a model");
  auto flags = std::make_shared<EvalFlags>();
  flags->model.add_to(command);
  flags->watch.add_to(command);
  add_flag(command, "file", flags->file, "the text (-: stdin)").required().type_name("FILE");
  add_flag(command, "--ref", flags->reference,
           "a reference model: KL divergence from it, and how often both choose the same token")
      .type_name("MODEL")
      .transform(resolve_model);
  add_flag(command, "--ref-precision", flags->reference_precision,
           "the arithmetic of the reference model (default: that of --precision)")
      .check(one_of({"auto", "exact", "int8", "fast", "f32"}))
      .needs(command.flag("--ref"));
  add_flag(command, "--window", flags->window, "tokens of a window (512; -c is the same)")
      .check(in_range(3, 1 << 30))
      .default_str("");
  add_flag(command, "--stride", flags->stride,
           "tokens from window to window; each scores its last so many (default: windows side by "
           "side, the second half of each is scored, as llama-perplexity)")
      .check(in_range(1, 1 << 30))
      .default_str("");
  add_flag(command, "--chunks", flags->chunks, "only the first so many windows")
      .check(in_range(1, 1 << 30))
      .default_str("");
  add_switch(command, "--json", flags->json, "print one JSON object");
  command.footer(
      "Examples:\n"
      "  dunlin eval model.gguf text.txt\n"
      "  dunlin eval model.gguf text.txt -c 2048 --stride 512 --json\n"
      "  dunlin eval quantized.gguf text.txt --ref model/\n"
      "  dunlin eval model/ text.txt -ctk int8 -ctv int8 --ref model/ --ref-precision f32\n"
      "llama-perplexity --ppl-stride makes windows longer than its -c; --window takes the size\n"
      "that it prints as calculation chunk.");
  command.callback([flags, &exit_code] {
    const auto result = Eval(*flags).run();
    exit_code = result.ok() ? *result : report_error(result.error());
  });
}

}  // namespace dunlin
