#include "cli/completion.h"

#include <fmt/format.h>

#include <algorithm>
#include <string>
#include <utility>
#include <vector>

#include "cli/argv.h"

namespace dunlin {
namespace {

// What may follow a flag.
struct CompletedFlag {
  std::vector<std::string> names = {};  // "-n", "--max-tokens", "-np"
  std::string help = {};
  bool takes_value = false;
  std::vector<std::string> words = {};  // its values, where they are words
  bool takes_path = false;
};

struct CompletedCommand {
  std::vector<std::string> path = {};  // empty: the program itself
  std::string help = {};
  std::vector<CompletedFlag> flags = {};
  std::vector<CompletedCommand> subcommands = {};
  bool takes_path = false;              // its first argument is a file or a folder
  std::vector<std::string> words = {};  // its first argument, where it is one of some words
};

std::vector<std::string> words_of(const std::string& kind) {
  std::vector<std::string> words;
  for (size_t at = 0; kind.find('|') != std::string::npos && at <= kind.size();) {
    const size_t bar = std::min(kind.find('|', at), kind.size());
    words.push_back(kind.substr(at, bar - at));
    at = bar + 1;
  }
  return words;
}

bool is_path(const std::string& kind) {
  return kind == "FILE" || kind == "MODEL";
}

CompletedFlag completed(const Flag& flag) {
  const std::string kind = flag.value_kind();
  CompletedFlag result{.help = flag.description(),
                       .takes_value = !kind.empty(),
                       .words = words_of(kind),
                       .takes_path = is_path(kind)};
  for (const std::string& name : flag.short_names()) result.names.push_back("-" + name);
  for (const std::string& name : flag.long_names()) {
    result.names.push_back("--" + name);
    const std::string abbreviation = short_flag_of("--" + name);
    if (!abbreviation.empty()) result.names.push_back(abbreviation);
  }
  return result;
}

CompletedCommand completed(const Command& command, std::vector<std::string> path) {
  CompletedCommand result{.path = std::move(path), .help = command.description()};
  bool first_argument = true;
  for (const Flag& flag : command.flags()) {
    if (flag.is_positional() && first_argument) {
      first_argument = false;
      result.takes_path = is_path(flag.value_kind());
      result.words = words_of(flag.value_kind());
    }
    if (flag.is_named()) result.flags.push_back(completed(flag));
  }
  for (const Command& each : command.subcommands()) {
    std::vector<std::string> below = result.path;
    below.push_back(each.name());
    result.subcommands.push_back(completed(each, std::move(below)));
  }
  return result;
}

template <typename F>
void for_each_command(const CompletedCommand& command, F&& f) {
  f(command);
  for (const CompletedCommand& each : command.subcommands) for_each_command(each, f);
}

std::vector<std::string> names_of(const std::vector<CompletedCommand>& commands) {
  std::vector<std::string> names;
  for (const CompletedCommand& each : commands) names.push_back(each.path.back());
  return names;
}

std::string all_names(const CompletedCommand& command) {
  std::vector<std::string> names;
  for (const CompletedFlag& flag : command.flags)
    names.insert(names.end(), flag.names.begin(), flag.names.end());
  return fmt::format("{}", fmt::join(names, " "));
}

// Within single quotes of a shell.
std::string single_quoted(const std::string& text) {
  std::string result = "'";
  for (const char each : text) result += each == '\'' ? std::string("'\\''") : std::string(1, each);
  return result + "'";
}

// The cases of `case "$path $previous"` for flags with a value.
std::string value_cases(const CompletedCommand& root) {
  std::string cases;
  for_each_command(root, [&cases](const CompletedCommand& command) {
    for (const CompletedFlag& flag : command.flags) {
      if (!flag.takes_value) continue;
      std::vector<std::string> patterns;
      for (const std::string& name : flag.names)
        patterns.push_back(fmt::format("'{} {}'", fmt::join(command.path, " "), name));
      const std::string action = flag.takes_path ? "COMPREPLY=($(compgen -f -- \"$word\"))"
                                 : flag.words.empty()
                                     ? ":"
                                     : fmt::format("COMPREPLY=($(compgen -W '{}' -- \"$word\"))",
                                                   fmt::join(flag.words, " "));
      cases +=
          fmt::format("    {})\n      {}\n      return ;;\n", fmt::join(patterns, " | "), action);
    }
  });
  return cases;
}

// The cases of `case "$path"` for what may stand at the cursor.
std::string word_cases(const CompletedCommand& root) {
  std::string cases;
  for_each_command(root, [&cases](const CompletedCommand& command) {
    std::vector<std::string> words = names_of(command.subcommands);
    words.insert(words.end(), command.words.begin(), command.words.end());
    cases +=
        fmt::format("    '{}') flags='{}' words='{}' files={} ;;\n", fmt::join(command.path, " "),
                    all_names(command), fmt::join(words, " "), command.takes_path ? 1 : 0);
  });
  return cases;
}

// The line of a flag for fish, where the condition `here` holds.
std::string fish_flag(const CompletedFlag& flag, const std::string& here) {
  std::string line = fmt::format("complete -c dunlin -n {}", single_quoted(here));
  for (const std::string& name : flag.names) {
    if (name.starts_with("--")) {
      line += " -l " + name.substr(2);
    } else {
      line += (name.size() == 2 ? " -s " : " -o ") + name.substr(1);
    }
  }
  if (flag.takes_value) line += flag.takes_path ? " -r -F" : " -x";
  if (!flag.words.empty())
    line += " -a " + single_quoted(fmt::format("{}", fmt::join(flag.words, " ")));
  return line + " -d " + single_quoted(flag.help) + '\n';
}

std::string path_cases(const CompletedCommand& root) {
  std::string cases;
  for_each_command(root, [&cases](const CompletedCommand& command) {
    if (!command.path.empty())
      cases += fmt::format("      '{}') path=\"$next\" ;;\n", fmt::join(command.path, " "));
  });
  return cases;
}

}  // namespace

std::string bash_completion(const Command& app) {
  const CompletedCommand root = completed(app, {});
  return fmt::format(R"(# Completion of dunlin for bash: source <(dunlin completion bash)
_dunlin() {{
  local word="${{COMP_WORDS[COMP_CWORD]}}" previous="${{COMP_WORDS[COMP_CWORD-1]}}"
  local path='' next flags='' words='' files=0 i
  COMPREPLY=()
  for ((i = 1; i < COMP_CWORD; ++i)); do
    next="${{path:+$path }}${{COMP_WORDS[i]}}"
    case "$next" in
{}      *) break ;;
    esac
  done
  case "$path $previous" in
{}  esac
  case "$path" in
{}  esac
  if [[ "$word" == -* ]]; then
    COMPREPLY=($(compgen -W "$flags" -- "$word"))
  elif [[ -n "$words" ]]; then
    COMPREPLY=($(compgen -W "$words" -- "$word"))
  elif ((files)); then
    COMPREPLY=($(compgen -f -- "$word"))
  fi
}}
complete -o filenames -F _dunlin dunlin
)",
                     path_cases(root), value_cases(root), word_cases(root));
}

std::string zsh_completion(const Command& app) {
  return "# Completion of dunlin for zsh: source <(dunlin completion zsh)\n"
         "autoload -Uz compinit bashcompinit\n"
         "(( $+functions[compdef] )) || compinit\n"
         "bashcompinit\n" +
         bash_completion(app);
}

std::string fish_completion(const Command& app) {
  const CompletedCommand root = completed(app, {});
  std::string script =
      "# Completion of dunlin for fish: dunlin completion fish | source\n"
      "complete -c dunlin -f\n";
  for_each_command(root, [&script](const CompletedCommand& command) {
    std::vector<std::string> seen;
    for (const std::string& word : command.path)
      seen.push_back("__fish_seen_subcommand_from " + word);
    const std::string here =
        seen.empty() ? "__fish_use_subcommand" : fmt::format("{}", fmt::join(seen, "; and "));
    for (const CompletedCommand& each : command.subcommands) {
      script += fmt::format("complete -c dunlin -n {} -a {} -d {}\n", single_quoted(here),
                            each.path.back(), single_quoted(each.help));
    }
    for (const std::string& word : command.words)
      script += fmt::format("complete -c dunlin -n {} -a {}\n", single_quoted(here), word);
    if (command.takes_path)
      script += fmt::format("complete -c dunlin -n {} -F\n", single_quoted(here));
    for (const CompletedFlag& flag : command.flags) script += fish_flag(flag, here);
  });
  return script;
}

}  // namespace dunlin
