// `dunlin run`: answers one prompt, or many from a file, and exits.
#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <nlohmann/json.hpp>

#include "cli/answer.h"
#include "cli/chat_settings.h"
#include "cli/commands.h"
#include "cli/diffusion_answer.h"
#include "cli/diffusion_flags.h"
#include "cli/inside_flags.h"
#include "cli/interrupt.h"
#include "cli/offload_report.h"
#include "cli/options.h"
#include "cli/prompt_source.h"
#include "cli/reasoning_flags.h"
#include "cli/run_diffusion.h"
#include "cli/sampling_flags.h"
#include "cli/terminal.h"
#include "engine/engine.h"

namespace dunlin {
namespace {

using Json = nlohmann::ordered_json;

// How long a prompt on the command line waits for the first byte of a pipe on stdin.
constexpr std::chrono::seconds kStdinPatience{2};

struct RunFlags {
  ModelFlags model;
  WatchFlags watch;
  SamplingFlags sampling;
  DiffusionFlags diffusion;
  PromptFlags prompt;
  ReasoningFlags reasoning;
  int64_t max_tokens = -1;
  std::vector<std::string> stop;
  bool ignore_eos = false, json = false, no_conversation = false;
};

// Runs all prompts and prints the answers in order: the first unfinished one streams, later ones
// wait. A prompt that fails leaves the others alone.
class PromptRunner {
 public:
  PromptRunner(const RunFlags& flags, const PromptBatch& batch, PromptFormat format,
               const SamplingParams& sampling, Model& model, Engine& engine)
      : flags_(flags),
        batch_(batch),
        format_(std::move(format)),
        sampling_(sampling),
        model_(model),
        engine_(engine),
        answers_(batch.prompts.size()),
        thinking_(!flags.model.quiet && !flags.json && model.options.watch == nullptr,
                  /*at_once=*/true) {}

  int run() {
    const Watch* const watch = model_.options.watch.get();
    const auto hit = [watch] { return watch != nullptr && watch->hit().has_value(); };
    bool more = true;
    while (more && pending_interrupt() == 0 && stdout_is_intact() && !hit()) {
      submit_some();
      more = engine_.step() || submitted_ < answers_.size();
      if (!hit()) print_ready();  // else what became of the answers is not what is to be told
    }
    thinking_.clear();
    if (pending_interrupt() != 0) return exit_code_of_signal(pending_interrupt());
    if (hit()) {
      if (printed_ > 0) write_stdout("\n");
      return report_error(*watch->hit());
    }
    if (!flags_.model.quiet && !flags_.json && answers_.size() == 1 && exit_code_ == 0)
      note("{}{}{}", empty_answer_note(answers_[0]), timings_text(answers_[0].stats),
           programs_text(model_.executable->programs()));
    return exit_code_;
  }

 private:
  // A few more than run at a time, so that the engine never waits for the tokenizer.
  void submit_some() {
    const auto ahead = static_cast<size_t>(2 * model_.limits.sequences);
    while (submitted_ < answers_.size() && submitted_ < next_ + ahead) {
      Answer& answer = answers_[submitted_];
      if (const auto submitted = submit(batch_.prompts[submitted_], answer); !submitted.ok()) {
        answer.error = submitted.error();
        answer.done = true;
      }
      ++submitted_;
    }
  }

  Result<void> submit(const Result<Prompt>& prompt, Answer& answer) {
    if (!prompt.ok()) return prompt.error();
    DUNLIN_ASSIGN_OR_RETURN(answer.prompt_ids, encode_prompt(*prompt, model_.text, format_));
    answer.show_reasoning = flags_.reasoning.show;
    ChatSettings settings{.sampling = sampling_, .max_tokens = flags_.max_tokens};
    for (const auto& [name, value] : prompt->settings)
      DUNLIN_RETURN_IF_ERROR(settings.set(name, value, model_.vocabulary));
    answer.seed = settings.sampling.seed;
    const auto submitted = engine_.submit({.prompt = answer.prompt_ids,
                                           .sampling = settings.sampling,
                                           .max_tokens = settings.max_tokens,
                                           .stop_ids = {},
                                           .stop = prompt->stop.value_or(flags_.stop),
                                           .ignore_eos = flags_.ignore_eos},
                                          [&answer](const Event& event) { answer.receive(event); });
    return submitted.ok() ? Result<void>() : submitted.error();
  }

  void print_ready() {
    while (next_ < answers_.size()) {
      Answer& answer = answers_[next_];
      thinking_.show(thinking_text(answer));
      if (!flags_.json) {
        write_stdout(std::string_view(answer.shown).substr(printed_));
        printed_ = answer.shown.size();
      }
      if (!answer.done) break;
      if (answer.error.has_value()) {
        print_error(named(*answer.error));
      } else {
        print_end(answer);
      }
      if (answers_.size() > 1) answer = Answer();  // its memory
      ++next_;
      printed_ = 0;
    }
  }

  void print_end(const Answer& answer) {
    if (flags_.json) {
      write_stdout(json_line(answer_json(answer, model_)) + "\n");
      return;
    }
    if (model_.text.tokenizer == nullptr)
      write_stdout(fmt::format("{}", fmt::join(answer.ids, ",")));
    write_stdout("\n");
  }

  // A line that is no prompt has its name already.
  Error named(const Error& error) const {
    const Result<Prompt>& prompt = batch_.prompts[next_];
    return prompt.ok() && batch_.is_batch ? error.with_context(prompt->where) : error;
  }

  void print_error(const Error& error) {
    const int code = static_cast<int>(error.kind);
    if (exit_code_ == 0) exit_code_ = code;
    if (!batch_.is_batch) {
      if (printed_ > 0) write_stdout("\n");
      report_error(error);
    } else if (flags_.json) {
      const Json line = {{"schema_version", 1},
                         {"index", next_},
                         {"error", {{"message", error.message}, {"code", code}}}};
      write_stdout(json_line(line) + "\n");
    } else {
      write_stdout("\n");  // the answer's line, so that answers can be counted
      report_error(error);
    }
  }

  const RunFlags& flags_;
  const PromptBatch& batch_;
  PromptFormat format_;
  SamplingParams sampling_;
  Model& model_;
  Engine& engine_;
  std::vector<Answer> answers_;
  StatusLine thinking_;   // of the answer that is being printed
  size_t submitted_ = 0;  // prompts the engine has, or has refused
  size_t next_ = 0;       // the answer that is being printed
  size_t printed_ = 0;    // bytes of it
  int exit_code_ = 0;     // of the first error
};

Result<DiffusionRunOptions> diffusion_options(const RunFlags& flags, PromptFormat format,
                                              const Metadata& config) {
  DiffusionRunOptions options{.steps_follow_tokens = !flags.diffusion.steps.has_value(),
                              .format = std::move(format),
                              .stop = flags.stop,
                              .ignore_eos = flags.ignore_eos,
                              .early_exit = flags.diffusion.early_exit,
                              .json = flags.json,
                              .stream = flags.diffusion.stream,
                              .visual = flags.diffusion.visual,
                              .quiet = flags.model.quiet};
  DUNLIN_ASSIGN_OR_RETURN(options.params,
                          answer_params(flags.diffusion, flags.sampling, flags.max_tokens, config));
  return options;
}

void note_offload(const RunFlags& flags, const Model& model) {
  if (flags.model.verbose) note("{}", offload_text(model.executable->offload()));
}

Result<int> run(const RunFlags& flags) {
  if (flags.diffusion.stream && !flags.json) return usage_error("--stream needs --json");
  const auto deadline = std::chrono::steady_clock::now() + kStdinPatience;
  DUNLIN_ASSIGN_OR_RETURN(const std::string system, system_prompt(flags.prompt));
  DUNLIN_ASSIGN_OR_RETURN(PromptBatch batch, gather_prompts(flags.prompt));
  DUNLIN_ASSIGN_OR_RETURN(ModelOptions options, flags.model.options());
  DUNLIN_ASSIGN_OR_RETURN(options.watch, flags.watch.watch(flags.model.quiet));
  options.new_tokens = std::max<int64_t>(0, flags.max_tokens);
  DUNLIN_ASSIGN_OR_RETURN(const auto model, load_with_banner(flags.model, options));
  DUNLIN_ASSIGN_OR_RETURN(const SamplingParams sampling,
                          flags.sampling.params(model->checkpoint->config()));
  DUNLIN_ASSIGN_OR_RETURN(const std::string remark, add_stdin(batch, deadline));
  if (!flags.model.quiet) note("{}", remark);
  const PromptFormat format{
      .system = system, .raw = flags.prompt.raw, .effort = flags.reasoning.effort_for(model->text)};
  if (model->diffusion) {
    DUNLIN_ASSIGN_OR_RETURN(const DiffusionRunOptions diffusion,
                            diffusion_options(flags, format, model->checkpoint->config()));
    const auto code = run_diffusion(batch, diffusion, *model);
    note_offload(flags, *model);
    return code;
  }
  DUNLIN_RETURN_IF_ERROR(flags.diffusion.refuse_all());
  DUNLIN_ASSIGN_OR_RETURN(Engine engine, make_engine(*model));
  catch_interrupts();
  const int code = PromptRunner(flags, batch, format, sampling, *model, engine).run();
  note_offload(flags, *model);
  return code;
}

}  // namespace

void add_run_command(Command app, int& exit_code) {
  Command command = app.add_command("run", "Answer a prompt and exit");
  auto flags = std::make_shared<RunFlags>();
  flags->model.add_to(command);
  flags->sampling.add_to(command);
  flags->diffusion.add_to(command);
  flags->watch.add_to(command);
  flags->prompt.add_to(command);
  flags->reasoning.add_to(command);
  add_flag(command, "-n,--max-tokens,--n-predict,--predict", flags->max_tokens,
           "tokens of the answer (-1: until the context is full; of a diffusion model 128)")
      .check(in_range(-1, int64_t{1} << 31));
  add_flag(command, "--stop", flags->stop, "end the answer before this text; may be repeated")
      .check(not_empty());
  add_switch(command, "--ignore-eos", flags->ignore_eos, "do not end at the model's stop tokens");
  add_switch(command, "--json", flags->json, "print one JSON object per answer");
  add_switch(command, "--no-conversation", flags->no_conversation,
             "accepted for llama.cpp's sake: run never converses");
  command.footer(
      "One prompt, from one place: the argument, -p, -f, --prompts, --prompt-ids, or else stdin.\n"
      "What a pipe or a file on stdin holds goes before a prompt that is an argument or comes "
      "with\n"
      "-p. A pipe is left alone when nothing has come within 2 seconds and the loading of the\n"
      "model; `-f -` waits for it. In a shell loop over stdin, </dev/null keeps it for the loop.\n"
      "With --prompts a prompt that fails has an error in the place of its answer. A JSON line "
      "may\n"
      "set max_tokens, stop, temp, top_k, top_p, min_p, seed and the penalties for its own "
      "answer.\n"
      "\n"
      "Examples:\n"
      "  dunlin run model.gguf \"Why is the sky blue?\"\n"
      "  dunlin run model/ --quantize Q4_K_M \"Why is the sky blue?\"\n"
      "  git diff | dunlin run model.gguf \"Write a commit message for this change.\"\n"
      "  dunlin run model/ -f question.txt -n 200 --temp 0\n"
      "  dunlin run model/ --prompts questions.jsonl -np 8 --json > answers.jsonl\n"
      "  dunlin run gpt-oss/ --reasoning-effort high --show-reasoning \"Is 2027 prime?\"\n"
      "  dunlin run dream/ --alg entropy --steps 128 -n 128 --temp 0.2 --top-p 0.95 \"Hello\"\n"
      "  dunlin run dream/ --alg confidence_threshold --dlm-cache dual --visual \"Hello\"\n"
      "  dunlin run model/ --watch 'layers.3.*' --until 'absmax>1e4' -n 20 \"Hello\"");
  command.callback([flags, &exit_code] {
    const auto result = run(*flags);
    exit_code = result.ok() ? *result : report_error(result.error());
  });
}

}  // namespace dunlin
