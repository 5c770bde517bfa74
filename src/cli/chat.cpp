#include "cli/chat.h"

#include <fmt/format.h>

#include <algorithm>
#include <csignal>
#include <cstdlib>

#include "cli/argv.h"
#include "cli/interrupt.h"
#include "cli/offload_report.h"
#include "cli/terminal.h"
#include "program/program.h"

namespace dunlin {
namespace {

using Json = nlohmann::ordered_json;

// The path that a person means: without blanks around it, and with ~/ for the home folder.
std::string path_of(const std::string& argument) {
  const size_t first = argument.find_first_not_of(' ');
  if (first == std::string::npos) return {};
  const std::string path = argument.substr(first, argument.find_last_not_of(' ') - first + 1);
  const char* const home = std::getenv("HOME");
  return path.starts_with("~/") && home != nullptr ? home + path.substr(1) : path;
}

bool has_windows(const Program& program) {
  return std::ranges::any_of(program.kv_groups,
                             [](const KvGroup& group) { return group.window > 0; });
}

void print_from(const std::string& text, size_t& printed) {
  write_stdout(std::string_view(text).substr(printed));
  printed = text.size();
}

}  // namespace

const char* const kChatHelp =
    "/help              this list\n"
    "/clear             forget the conversation, keep the system prompt\n"
    "/regen             answer the last message again, with another seed\n"
    "/set [NAME VALUE]  show or change a setting: temp, top-k, top-p, min-p, seed, max-tokens, "
    "...\n"
    "/system [TEXT]     set the system prompt, or remove it\n"
    "/save FILE         keep the conversation, with what the model has computed of it\n"
    "/load FILE         go on with a saved conversation\n"
    "/stats             tokens and speed of the last answer\n"
    "/exit              leave (also Ctrl-D)\n"
    "Ctrl-C stops the answer, twice leaves. A line that ends in \\ continues on the next one;\n"
    "\"\"\" begins and ends a message of several lines. Pasted lines are one message.\n";

const std::vector<std::string>& chat_commands() {
  static const std::vector<std::string> kCommands = {"/help", "/clear", "/regen", "/set", "/system",
                                                     "/save", "/load",  "/stats", "/exit"};
  return kCommands;
}

Chat::Chat(const ChatOptions& options, const Model& model, ChatPartner& partner, ChatInput& input,
           ChatSettings settings)
    : options_(options),
      model_(model),
      partner_(partner),
      input_(input),
      settings_(std::move(settings)) {
  set_system(options.system);
}

Result<int> Chat::converse() {
  for (;;) {
    Message message;
    DUNLIN_ASSIGN_OR_RETURN(const LineReader::Status status, input_.read(message));
    if (status == LineReader::Status::end) {
      if (input_.interactive()) note("\n");
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
    if (const auto done = handle(message); !done.ok()) {
      if (!input_.interactive()) return done.error();
      report_error(done.error());
    }
    if (leave_ != 0) return leave_;
    if (options_.single_turn && !command) return 0;
  }
}

Result<void> Chat::handle(const Message& message) {
  if (message.quoted || message.text.front() != '/') return say(message.text);
  const size_t space = message.text.find(' ');
  return run_command(message.text.substr(0, space),
                     space == std::string::npos ? "" : message.text.substr(space + 1));
}

int Chat::interrupted_while_waiting() {
  const int signal = pending_interrupt();
  if (!input_.interactive() || signal != SIGINT || interrupted_) {
    if (input_.interactive()) note("\n");
    return exit_code_of_signal(signal);
  }
  clear_interrupt();
  interrupted_ = true;
  note("\nCtrl-C once more, or /exit, leaves\n");
  return 0;
}

Result<void> Chat::run_command(const std::string& name, const std::string& argument) {
  if (name == "/help") {
    note("{}", kChatHelp);
  } else if (name == "/clear") {
    clear();
  } else if (name == "/regen") {
    return regenerate();
  } else if (name == "/set") {
    return set(argument);
  } else if (name == "/system") {
    set_system(argument);
  } else if (name == "/save") {
    return save(path_of(argument));
  } else if (name == "/load") {
    return load(path_of(argument));
  } else if (name == "/stats") {
    print_stats();
  } else {
    return usage_error(unknown_name(name, "command", chat_commands()));
  }
  return {};
}

void Chat::set_system(const std::string& text) {
  if (!messages_.empty() && messages_[0]["role"] == "system") messages_.erase(0);
  if (!text.empty())
    messages_.insert(messages_.begin(), Json{{"role", "system"}, {"content", text}});
}

void Chat::clear() {
  const bool has_system = !messages_.empty() && messages_[0]["role"] == "system";
  while (messages_.size() > (has_system ? 1u : 0u)) messages_.erase(messages_.size() - 1);
}

Result<void> Chat::set(const std::string& argument) {
  if (argument.empty()) {
    note("{}", settings_.text());
    return {};
  }
  const size_t space = argument.find(' ');
  if (space == std::string::npos)
    return usage_error("/set takes a name and a value, or nothing to show all");
  return settings_.set(argument.substr(0, space), argument.substr(space + 1), model_.vocabulary);
}

Result<void> Chat::save(const std::string& path) {
  if (path.empty()) return usage_error("/save takes the name of a file");
  DUNLIN_ASSIGN_OR_RETURN(const ChatFileSummary saved, partner_.save(path, messages_));
  if (!saved.has_cache) {
    note("saved {} messages\n", saved.messages);
  } else if (saved.cached == 0 && has_windows(model_.program) && !last_.prompt_ids.empty()) {
    note(
        "saved {} messages without their KV cache: layers with a window have only the end of it, "
        "so after /load all is computed again\n",
        saved.messages);
  } else {
    note("saved {} messages and the KV cache of {} tokens\n", saved.messages, saved.cached);
  }
  return {};
}

Result<void> Chat::load(const std::string& path) {
  if (path.empty()) return usage_error("/load takes the name of a file");
  DUNLIN_ASSIGN_OR_RETURN(const ChatFileSummary loaded, partner_.load(path, messages_));
  last_ = Answer();
  if (!loaded.has_cache) {
    note("loaded {} messages\n", loaded.messages);
  } else if (loaded.why_not_cached.empty() && loaded.cached == 0 && loaded.messages > 0) {
    note("loaded {} messages, which were saved without a KV cache\n", loaded.messages);
  } else if (loaded.why_not_cached.empty()) {
    note("loaded {} messages and the KV cache of {} tokens\n", loaded.messages, loaded.cached);
  } else {
    note(
        "loaded {} messages; they were saved with other settings ({}), so the next answer computes "
        "them again\n",
        loaded.messages, loaded.why_not_cached);
  }
  return {};
}

void Chat::print_stats() const {
  const auto held = static_cast<int64_t>(last_.prompt_ids.size() + last_.ids.size());
  note("context  {} of {} tokens in {} messages\n", held, model_.limits.context, messages_.size());
  if (last_.done) note("{}", timings_text(last_));
  note("{}", offload_text(model_.executable->offload()));
}

Result<void> Chat::say(const std::string& text) {
  messages_.push_back({{"role", "user"}, {"content", text}});
  const auto done = answer();
  if (!done.ok()) messages_.erase(messages_.size() - 1);
  return done;
}

Result<void> Chat::regenerate() {
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
Result<void> Chat::answer() {
  Answer answer;
  answer.show_reasoning = options_.show_reasoning;
  DUNLIN_ASSIGN_OR_RETURN(answer.prompt_ids, model_.text.encode_chat(messages_, options_.effort));
  DUNLIN_RETURN_IF_ERROR(generate(answer));
  if (answer.error.has_value()) return *answer.error;
  finish(answer);
  return {};
}

Result<void> Chat::generate(Answer& answer) {
  answer.seed = settings_.sampling.seed;
  size_t printed = 0;
  StatusLine thinking(!options_.quiet && !options_.json, /*at_once=*/true);
  const auto go_on = [&] {
    thinking.show(thinking_text(answer));
    if (!options_.json) print_from(answer.shown, printed);
    return pending_interrupt() == 0 && stdout_is_intact();
  };
  DUNLIN_ASSIGN_OR_RETURN(const bool complete, partner_.generate(settings_, go_on, answer));
  thinking.clear();
  if (!options_.json) print_from(answer.shown, printed);
  if (complete) return {};
  const int signal = pending_interrupt();
  if (signal != 0 && (!input_.interactive() || signal != SIGINT))
    leave_ = exit_code_of_signal(signal);
  interrupted_ = signal != 0;
  if (leave_ == 0) clear_interrupt();  // else nothing is waited for on the way out
  if (!stdout_is_intact()) return runtime_error("stdout: the answer cannot be written");
  return {};
}

void Chat::finish(Answer& answer) {
  if (!options_.json) {
    write_stdout("\n");
    note("{}", empty_answer_note(answer));
  } else if (answer.done) {
    write_stdout(json_line(answer_json(answer, model_)) + "\n");
  }
  messages_.push_back({{"role", "assistant"}, {"content", answer.text}});
  // Thoughts are over with the answer. Those that none followed yet are gone on with.
  if (answer.text.empty() && !answer.reasoning.empty())
    messages_.back()["reasoning"] = answer.reasoning;
  const auto held = static_cast<int64_t>(answer.prompt_ids.size() + answer.ids.size());
  if (answer.done && held >= model_.limits.context) {
    note("the context of {} tokens is full; /clear begins a new conversation\n",
         model_.limits.context);
  }
  last_ = std::move(answer);
}

}  // namespace dunlin
