// `dunlin run`: answers one prompt, or many from a file, and exits.
#include <fmt/format.h>

#include <cstdio>
#include <fstream>
#include <iostream>
#include <sstream>

#include "cli/answer.h"
#include "cli/commands.h"
#include "cli/inside_flags.h"
#include "cli/interrupt.h"
#include "cli/options.h"
#include "cli/prompts.h"
#include "cli/terminal.h"
#include "engine/engine.h"

namespace dunlin {
namespace {

struct RunFlags {
  ModelFlags model;
  WatchFlags watch;
  SamplingFlags sampling;
  std::string prompt, prompt_flag, prompt_file, prompts_file, prompt_ids, system;
  int64_t max_tokens = -1;
  std::vector<std::string> stop;
  bool raw = false, ignore_eos = false, json = false, no_conversation = false;
};

Result<std::string> slurp(std::istream& input) {
  std::ostringstream text;
  text << input.rdbuf();
  return text.str();
}

Result<std::vector<Prompt>> read_prompts_from(const std::string& path) {
  if (path == "-") return read_prompts(std::cin, "stdin");
  std::ifstream file(path);
  if (!file) return usage_error(fmt::format("--prompts {}: cannot be read", path));
  return read_prompts(file, path);
}

Result<std::vector<Prompt>> gather_prompts(const RunFlags& flags) {
  if (!flags.prompts_file.empty()) return read_prompts_from(flags.prompts_file);
  if (!flags.prompt_ids.empty()) {
    DUNLIN_ASSIGN_OR_RETURN(auto ids, parse_ids(flags.prompt_ids));
    return std::vector<Prompt>{{.ids = std::move(ids)}};
  }
  Prompt prompt{.text = flags.prompt_flag.empty() ? flags.prompt : flags.prompt_flag};
  if (!flags.prompt_file.empty() && flags.prompt_file != "-") {
    std::ifstream file(flags.prompt_file);
    if (!file) return usage_error(fmt::format("-f {}: cannot be read", flags.prompt_file));
    DUNLIN_ASSIGN_OR_RETURN(prompt.text, slurp(file));
  } else if (flags.prompt_file == "-" || (prompt.text.empty() && !stdin_is_terminal())) {
    DUNLIN_ASSIGN_OR_RETURN(prompt.text, slurp(std::cin));
  }
  if (prompt.text.empty())
    return usage_error("no prompt: give one as an argument, with -p or -f, or on stdin");
  return std::vector<Prompt>{std::move(prompt)};
}

// Runs all prompts and prints the answers in order: the first unfinished one streams, later ones
// wait.
class Runner {
 public:
  Runner(const RunFlags& flags, Model& model, Engine& engine)
      : flags_(flags), model_(model), engine_(engine) {}

  Result<void> submit(const std::vector<Prompt>& prompts, const SamplingParams& sampling) {
    seed_ = sampling.seed;
    answers_.resize(prompts.size());
    for (size_t i = 0; i < prompts.size(); ++i) {
      DUNLIN_ASSIGN_OR_RETURN(answers_[i].prompt_ids,
                              encode_prompt(prompts[i], model_.text, flags_.system, flags_.raw));
      const auto submitted =
          engine_.submit({.prompt = answers_[i].prompt_ids,
                          .sampling = sampling,
                          .max_tokens = flags_.max_tokens,
                          .stop_ids = {},
                          .stop = flags_.stop,
                          .ignore_eos = flags_.ignore_eos},
                         [this, i](const Event& event) { answers_[i].receive(event); });
      if (!submitted.ok()) {
        return prompts.size() == 1
                   ? submitted.error()
                   : submitted.error().with_context(fmt::format("prompt {}", i + 1));
      }
    }
    return {};
  }

  int run() {
    const Watch* const watch = model_.options.watch.get();
    const auto hit = [watch] { return watch != nullptr && watch->hit().has_value(); };
    while (engine_.step() && pending_interrupt() == 0 && stdout_is_intact() && !hit())
      print_ready();
    print_ready();
    if (pending_interrupt() != 0) return exit_code_of_signal(pending_interrupt());
    if (hit()) return report_error(*watch->hit());
    int code = 0;
    for (const Answer& answer : answers_) {
      if (answer.error.has_value()) code = report_error(*answer.error);
    }
    if (!flags_.model.quiet && !flags_.json && answers_.size() == 1 && code == 0)
      note("{}", timings_text(answers_[0].stats));
    return code;
  }

 private:
  void print_ready() {
    while (next_ < answers_.size()) {
      const Answer& answer = answers_[next_];
      if (!flags_.json) {
        const std::string_view fresh = std::string_view(answer.text).substr(printed_);
        write_stdout(fresh);
        printed_ = answer.text.size();
      }
      if (!answer.done) break;
      if (!flags_.json) {
        if (model_.text.tokenizer == nullptr)
          write_stdout(fmt::format("{}", fmt::join(answer.ids, ",")));
        write_stdout("\n");
      } else if (!answer.error.has_value()) {
        write_stdout(json_line(answer_json(answer, model_, seed_)) + "\n");
      }
      ++next_;
      printed_ = 0;
    }
  }

  const RunFlags& flags_;
  Model& model_;
  Engine& engine_;
  uint64_t seed_ = 0;
  std::vector<Answer> answers_;
  size_t next_ = 0;     // the answer that is being printed
  size_t printed_ = 0;  // bytes of it
};

Result<int> run(const RunFlags& flags) {
  DUNLIN_ASSIGN_OR_RETURN(const auto prompts, gather_prompts(flags));
  DUNLIN_ASSIGN_OR_RETURN(ModelOptions options, flags.model.options());
  DUNLIN_ASSIGN_OR_RETURN(options.watch, flags.watch.watch(flags.model.quiet));
  DUNLIN_ASSIGN_OR_RETURN(const auto model, load_with_banner(flags.model, options));
  DUNLIN_ASSIGN_OR_RETURN(const SamplingParams sampling,
                          flags.sampling.params(model->checkpoint->config()));
  DUNLIN_ASSIGN_OR_RETURN(Engine engine, make_engine(*model));
  catch_interrupts();
  Runner runner(flags, *model, engine);
  DUNLIN_RETURN_IF_ERROR(runner.submit(prompts, sampling));
  return runner.run();
}

}  // namespace

void add_run_command(CLI::App& app, int& exit_code) {
  CLI::App* command = app.add_subcommand("run", "Answer a prompt and exit");
  auto flags = std::make_shared<RunFlags>();
  flags->model.add_to(*command);
  flags->sampling.add_to(*command);
  flags->watch.add_to(*command);
  command->add_option("prompt", flags->prompt, "the prompt");
  add_flag(*command, "-p,--prompt", flags->prompt_flag, "the prompt");
  add_flag(*command, "-f,--file", flags->prompt_file, "a file with the prompt (-: stdin)");
  add_flag(*command, "--prompts", flags->prompts_file,
           "a file of prompts, text or JSON lines (-: stdin); answers come in order");
  add_flag(*command, "--prompt-ids", flags->prompt_ids, "token ids instead of text: 1,2,3");
  add_flag(*command, "--system-prompt", flags->system, "the system prompt (-sys)");
  add_flag(*command, "-n,--max-tokens,--n-predict,--predict", flags->max_tokens,
           "tokens of the answer (-1: until the context is full)");
  add_flag(*command, "--stop", flags->stop, "end the answer before this text; may be repeated");
  add_switch(*command, "--raw", flags->raw, "no chat template: the model continues the text");
  add_switch(*command, "--ignore-eos", flags->ignore_eos, "do not end at the model's stop tokens");
  add_switch(*command, "--json", flags->json, "print one JSON object per answer");
  add_switch(*command, "--no-conversation", flags->no_conversation,
             "accepted for llama.cpp's sake: run never converses");
  command->footer(
      "Examples:\n"
      "  dunlin run model.gguf \"Why is the sky blue?\"\n"
      "  dunlin run model/ -f question.txt -n 200 --temp 0\n"
      "  dunlin run model/ --prompts questions.jsonl -np 8 --json > answers.jsonl\n"
      "  dunlin run model/ --watch 'layers.3.*' --until 'absmax>1e4' -n 20 \"Hello\"");
  command->callback([flags, &exit_code] {
    const auto result = run(*flags);
    exit_code = result.ok() ? *result : report_error(result.error());
  });
}

}  // namespace dunlin
