// `dunlin chat`: a conversation at the terminal or over a pipe.
#include <fmt/format.h>

#include <algorithm>
#include <memory>
#include <string>
#include <utility>

#include "cli/chat.h"
#include "cli/chat_partner.h"
#include "cli/commands.h"
#include "cli/diffusion_answer.h"
#include "cli/diffusion_flags.h"
#include "cli/interrupt.h"
#include "cli/options.h"
#include "cli/read_input.h"
#include "cli/reasoning_flags.h"
#include "cli/sampling_flags.h"
#include "cli/terminal.h"
#include "sampler/sampler.h"

namespace dunlin {
namespace {

constexpr uint64_t kMostSystemBytes = 1u << 20;

struct ChatFlags {
  ModelFlags model;
  SamplingFlags sampling;
  DiffusionFlags diffusion;
  ReasoningFlags reasoning;
  ChatOptions chat;
  std::string system_file;
  int64_t max_tokens = -1;
  bool no_history = false;
};

// Who answers, and with which settings at first.
struct Beginning {
  std::unique_ptr<ChatPartner> partner = {};
  ChatSettings settings = {};
};

Result<Beginning> begin_with_tokens(const ChatFlags& flags, Model& model) {
  DUNLIN_RETURN_IF_ERROR(flags.diffusion.refuse_all());
  DUNLIN_ASSIGN_OR_RETURN(const SamplingParams sampling,
                          flags.sampling.params(model.checkpoint->config()));
  DUNLIN_RETURN_IF_ERROR(validate(sampling, model.vocabulary));
  Beginning beginning{.settings = {.sampling = sampling, .max_tokens = flags.max_tokens}};
  DUNLIN_ASSIGN_OR_RETURN(beginning.partner, make_token_partner(flags.chat, model));
  return beginning;
}

Result<Beginning> begin_with_canvases(const ChatFlags& flags, Model& model) {
  const DiffusionFlags& diffusion = flags.diffusion;
  CanvasChatOptions options{.steps_follow_tokens = !diffusion.steps.has_value(),
                            .early_exit = diffusion.early_exit,
                            .stream = diffusion.stream,
                            .visual = diffusion.visual,
                            .quiet = flags.model.quiet};
  DUNLIN_ASSIGN_OR_RETURN(options.params, answer_params(diffusion, flags.sampling, flags.max_tokens,
                                                        model.checkpoint->config()));
  Beginning beginning{.settings = settings_of(options.params)};
  DUNLIN_ASSIGN_OR_RETURN(beginning.partner,
                          make_canvas_partner(flags.chat, std::move(options), model));
  return beginning;
}

Result<int> chat(ChatFlags flags) {
  if (flags.diffusion.stream && !flags.chat.json) return usage_error("--stream needs --json");
  if (!flags.system_file.empty()) {
    DUNLIN_ASSIGN_OR_RETURN(flags.chat.system, read_user_file(flags.system_file, kMostSystemBytes));
  }
  DUNLIN_ASSIGN_OR_RETURN(ModelOptions options, flags.model.options());
  options.new_tokens = std::max<int64_t>(0, flags.max_tokens);
  DUNLIN_ASSIGN_OR_RETURN(const auto model, load_with_banner(flags.model, options));
  DUNLIN_RETURN_IF_ERROR(model->text.require_chat_format());
  flags.chat.show_reasoning = flags.reasoning.show;
  flags.chat.quiet = flags.model.quiet;
  flags.chat.effort = flags.reasoning.effort_for(model->text);
  DUNLIN_ASSIGN_OR_RETURN(const Beginning beginning, model->diffusion
                                                         ? begin_with_canvases(flags, *model)
                                                         : begin_with_tokens(flags, *model));
  DUNLIN_ASSIGN_OR_RETURN(ChatInput input, ChatInput::create(chat_commands(), !flags.no_history));
  catch_interrupts();
  if (input.interactive() && !flags.model.quiet) note("/help lists the commands\n");
  Chat conversation(flags.chat, *model, *beginning.partner, input, beginning.settings);
  return conversation.converse();
}

}  // namespace

void add_chat_command(Command app, int& exit_code) {
  Command command = app.add_command("chat", "Converse with a model");
  auto flags = std::make_shared<ChatFlags>();
  flags->model.add_to(command);
  flags->sampling.add_to(command);
  flags->diffusion.add_to(command);
  flags->reasoning.add_to(command);
  add_flag(command, "--system-prompt", flags->chat.system, "the system prompt (-sys)")
      .excludes(
          add_flag(command, "--system-prompt-file", flags->system_file, "a file with it (-sysf)")
              .type_name("FILE"));
  add_flag(command, "-n,--max-tokens,--n-predict,--predict", flags->max_tokens,
           "tokens of an answer (-1: until the context is full; of a diffusion model 128)")
      .check(in_range(-1, int64_t{1} << 31));
  add_flag(command, "--stop", flags->chat.stop, "end an answer before this text; may be repeated")
      .check(not_empty());
  add_switch(command, "--ignore-eos", flags->chat.ignore_eos,
             "do not end at the model's stop tokens");
  add_switch(command, "--single-turn", flags->chat.single_turn, "leave after one answer (-st)");
  add_switch(command, "--no-history", flags->no_history,
             "neither read nor write ~/.local/state/dunlin/chat_history");
  add_switch(command, "--json", flags->chat.json, "print one JSON object per answer");
  command.footer(fmt::format(
      "Commands:\n{}\n"
      "Examples:\n"
      "  dunlin chat model.gguf\n"
      "  dunlin chat model/ -sys \"Answer in one sentence.\" --temp 0.3\n"
      "  dunlin chat gpt-oss/ --reasoning-effort low --show-reasoning\n"
      "  dunlin chat dream/ -n 256 --alg confidence_threshold --dlm-cache dual --visual\n"
      "  printf 'Hello\\nAnd again\\n' | dunlin chat model/ --json",
      kChatHelp));
  command.callback([flags, &exit_code] {
    const auto result = chat(*flags);
    exit_code = result.ok() ? *result : report_error(result.error());
  });
}

}  // namespace dunlin
