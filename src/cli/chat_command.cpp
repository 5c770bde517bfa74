// `dunlin chat`: a conversation on the terminal or over a pipe.
//
// All turns belong to one session of the engine, which computes only from the first token that
// differs from what it has: usually the answer's last token and the new message. An answer goes
// back into the conversation as text; where its text encodes to other ids than were generated, the
// difference begins there.
#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <csignal>
#include <cstdio>
#include <nlohmann/json.hpp>

#include "cli/answer.h"
#include "cli/argv.h"
#include "cli/chat_settings.h"
#include "cli/commands.h"
#include "cli/interrupt.h"
#include "cli/line_reader.h"
#include "cli/options.h"
#include "cli/terminal.h"
#include "engine/engine.h"
#include "sampler/sampler.h"

namespace dunlin {
namespace {

using Json = nlohmann::ordered_json;

constexpr SessionId kSession = 1;

struct ChatFlags {
  ModelFlags model;
  SamplingFlags sampling;
  std::string system;
  int64_t max_tokens = -1;
  std::vector<std::string> stop;
  bool ignore_eos = false, single_turn = false, json = false;
};

constexpr const char* kHelp =
    "/help              this list\n"
    "/clear             forget the conversation, keep the system prompt\n"
    "/regen             answer the last message again, with another seed\n"
    "/set [NAME VALUE]  show or change a setting: temp, top-k, top-p, min-p, seed, max-tokens, "
    "...\n"
    "/system [TEXT]     set the system prompt, or remove it\n"
    "/stats             tokens and speed of the last answer\n"
    "/exit              leave (also Ctrl-D)\n"
    "Ctrl-C stops the answer, twice leaves. A line that ends in \\ continues on the next one;\n"
    "\"\"\" begins and ends a message of several lines.\n";

const std::vector<std::string> kCommands = {"/help",   "/clear", "/regen", "/set",
                                            "/system", "/stats", "/exit"};

class Chat {
 public:
  Chat(const ChatFlags& flags, Model& model, Engine& engine, ChatSettings settings)
      : flags_(flags), model_(model), engine_(engine), settings_(std::move(settings)) {
    set_system(flags.system);
  }

  // Returns the exit code. On a terminal errors are reported and the conversation goes on;
  // otherwise the first one ends it, since nobody is there to react.
  Result<int> converse() {
    for (;;) {
      Message message;
      DUNLIN_ASSIGN_OR_RETURN(
          const LineReader::Status status,
          read_message(reader_, [this](bool continued) { prompt(continued); }, message));
      if (status == LineReader::Status::end) {
        if (interactive_) note("\n");
        return 0;
      }
      if (status == LineReader::Status::interrupted) {
        if (const int code = interrupted_while_waiting(); code != 0) return code;
        continue;
      }
      interrupted_ = false;
      if (message.text.empty()) continue;
      const bool command = !message.quoted && message.text.front() == '/';
      if (command && message.text == "/exit") return 0;
      const Result<void> done = command ? run_command(message.text) : say(message.text);
      if (!done.ok()) {
        if (!interactive_) return done.error();
        report_error(done.error());
      }
      if (leave_ != 0) return leave_;
      if (flags_.single_turn && !command) return 0;
    }
  }

 private:
  void prompt(bool continued) const {
    if (interactive_) note("{}", continued ? ". " : "> ");
  }

  int interrupted_while_waiting() {
    const int signal = pending_interrupt();
    if (!interactive_ || signal != SIGINT || interrupted_) return exit_code_of_signal(signal);
    clear_interrupt();
    interrupted_ = true;
    note("\nCtrl-C once more, or /exit, leaves\n");
    return 0;
  }

  void set_system(const std::string& text) {
    if (!messages_.empty() && messages_[0]["role"] == "system") messages_.erase(0);
    if (!text.empty())
      messages_.insert(messages_.begin(), Json{{"role", "system"}, {"content", text}});
  }

  Result<void> run_command(const std::string& line) {
    const size_t space = line.find(' ');
    const std::string name = line.substr(0, space);
    const std::string argument = space == std::string::npos ? "" : line.substr(space + 1);
    if (name == "/help") {
      note("{}", kHelp);
    } else if (name == "/clear") {
      const bool has_system = !messages_.empty() && messages_[0]["role"] == "system";
      while (messages_.size() > (has_system ? 1u : 0u)) messages_.erase(messages_.size() - 1);
    } else if (name == "/regen") {
      return regenerate();
    } else if (name == "/set") {
      return set(argument);
    } else if (name == "/system") {
      set_system(argument);
    } else if (name == "/stats") {
      print_stats();
    } else {
      return usage_error(unknown_name(name, "command", kCommands));
    }
    return {};
  }

  Result<void> set(const std::string& argument) {
    if (argument.empty()) {
      note("{}", settings_.text());
      return {};
    }
    const size_t space = argument.find(' ');
    if (space == std::string::npos)
      return usage_error("/set takes a name and a value, or nothing to show all");
    return settings_.set(argument.substr(0, space), argument.substr(space + 1), model_.vocabulary);
  }

  void print_stats() const {
    const auto held = static_cast<int64_t>(last_.prompt_ids.size() + last_.ids.size());
    note("context  {} of {} tokens in {} messages\n", held, model_.limits.context,
         messages_.size());
    if (last_.done) note("{}", timings_text(last_.stats));
  }

  Result<void> say(const std::string& text) {
    messages_.push_back({{"role", "user"}, {"content", text}});
    const auto done = answer();
    if (!done.ok()) messages_.erase(messages_.size() - 1);
    return done;
  }

  Result<void> regenerate() {
    if (messages_.empty() || messages_.back()["role"] != "assistant")
      return usage_error("there is no answer to generate again");
    const Json old = messages_.back();
    messages_.erase(messages_.size() - 1);
    ++settings_.sampling.seed;
    const auto done = answer();
    if (!done.ok()) messages_.push_back(old);
    return done;
  }

  // Answers the last message and appends the answer, also one that Ctrl-C cut short.
  Result<void> answer() {
    Answer answer;
    DUNLIN_ASSIGN_OR_RETURN(answer.prompt_ids, model_.text.encode_chat(messages_));
    DUNLIN_ASSIGN_OR_RETURN(const RequestId id, engine_.submit({.prompt = answer.prompt_ids,
                                                                .sampling = settings_.sampling,
                                                                .max_tokens = settings_.max_tokens,
                                                                .stop_ids = {},
                                                                .stop = flags_.stop,
                                                                .ignore_eos = flags_.ignore_eos,
                                                                .session = kSession},
                                                               [&answer](const Event& event) {
                                                                 answer.receive(event);
                                                               }));
    size_t printed = 0;
    bool more = true;
    while (more && pending_interrupt() == 0) {
      more = engine_.step();
      if (!flags_.json) print_from(answer.text, printed);
    }
    if (pending_interrupt() != 0) {
      // The next step takes the request out.
      engine_.cancel(id);
      engine_.step();
      stop_answering();
    }
    if (answer.error.has_value()) return *answer.error;
    finish(answer);
    return {};
  }

  static void print_from(const std::string& text, size_t& printed) {
    write_stdout(std::string_view(text).substr(printed));
    printed = text.size();
  }

  void stop_answering() {
    const int signal = pending_interrupt();
    if (!interactive_ || signal != SIGINT) leave_ = exit_code_of_signal(signal);
    interrupted_ = true;
    clear_interrupt();
  }

  void finish(Answer& answer) {
    if (flags_.json) {
      if (answer.done)
        fmt::print("{}\n", json_line(answer_json(answer, model_, settings_.sampling.seed)));
    } else {
      fmt::print("\n");
    }
    write_stdout("");
    messages_.push_back({{"role", "assistant"}, {"content", answer.text}});
    const auto held = static_cast<int64_t>(answer.prompt_ids.size() + answer.ids.size());
    if (answer.done && held >= model_.limits.context) {
      note("the context of {} tokens is full; /clear begins a new conversation\n",
           model_.limits.context);
    }
    last_ = std::move(answer);
  }

  const ChatFlags& flags_;
  Model& model_;
  Engine& engine_;
  ChatSettings settings_;
  LineReader reader_{STDIN_FILENO};
  const bool interactive_ = stdin_is_terminal();
  Json messages_ = Json::array();
  Answer last_;
  bool interrupted_ = false;  // by Ctrl-C, since the last message
  int leave_ = 0;             // exit code of a signal that ends the conversation
};

Result<int> chat(const ChatFlags& flags) {
  DUNLIN_ASSIGN_OR_RETURN(const ModelOptions options, flags.model.options());
  DUNLIN_ASSIGN_OR_RETURN(const auto model, load_with_banner(flags.model, options));
  DUNLIN_RETURN_IF_ERROR(model->text.require_chat_template());
  DUNLIN_ASSIGN_OR_RETURN(const SamplingParams sampling,
                          flags.sampling.params(model->checkpoint->config()));
  DUNLIN_RETURN_IF_ERROR(validate(sampling, model->vocabulary));
  DUNLIN_ASSIGN_OR_RETURN(Engine engine, make_engine(*model));
  catch_interrupts();
  Chat conversation(flags, *model, engine, {.sampling = sampling, .max_tokens = flags.max_tokens});
  if (stdin_is_terminal() && !flags.model.quiet) note("/help lists the commands\n");
  return conversation.converse();
}

}  // namespace

void add_chat_command(CLI::App& app, int& exit_code) {
  CLI::App* command = app.add_subcommand("chat", "Converse with a model");
  auto flags = std::make_shared<ChatFlags>();
  flags->model.add_to(*command);
  flags->sampling.add_to(*command);
  add_flag(*command, "--system-prompt", flags->system, "the system prompt (-sys)");
  add_flag(*command, "-n,--max-tokens,--n-predict,--predict", flags->max_tokens,
           "tokens of an answer (-1: until the context is full)");
  add_flag(*command, "--stop", flags->stop, "end an answer before this text; may be repeated");
  add_switch(*command, "--ignore-eos", flags->ignore_eos, "do not end at the model's stop tokens");
  add_switch(*command, "--single-turn", flags->single_turn, "leave after one answer (-st)");
  add_switch(*command, "--json", flags->json, "print one JSON object per answer");
  command->footer(
      fmt::format("Commands:\n{}\n"
                  "Examples:\n"
                  "  dunlin chat model.gguf\n"
                  "  dunlin chat model/ -sys \"Answer in one sentence.\" --temp 0.3\n"
                  "  printf 'Hello\\nAnd again\\n' | dunlin chat model/ --json",
                  kHelp));
  command->callback([flags, &exit_code] {
    const auto result = chat(*flags);
    exit_code = result.ok() ? *result : report_error(result.error());
  });
}

}  // namespace dunlin
