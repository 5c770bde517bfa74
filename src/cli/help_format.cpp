#include "cli/help_format.h"

#include <fmt/format.h>

#include <algorithm>
#include <memory>
#include <sstream>
#include <string>
#include <vector>

#include "base/ascii.h"
#include "cli/command_line.h"
#include "cli/parser.h"

namespace dunlin {
namespace {

constexpr size_t kColumn = 34;  // where descriptions begin
constexpr size_t kWidth = 100;

class HelpFormatter final : public CLI::Formatter {
 public:
  std::string make_option(const CLI::Option* option, bool is_positional) const override;
  std::string make_usage(const CLI::App* command, std::string name) const override;
  std::string make_description(const CLI::App* command) const override;
  std::string make_footer(const CLI::App* command) const override;
};

// "-n, --max-tokens, --n-predict N"; long names stand in one column.
std::string left_side(const CLI::Option& option, bool is_positional) {
  const std::string kind = value_kind(option);
  if (is_positional) return fmt::format("  {}", ascii_upper(option.get_name(true, false)));
  std::vector<std::string> names;
  for (const std::string& name : option.get_snames()) names.push_back("-" + name);
  const bool only_long = names.empty();
  for (const std::string& name : option.get_lnames()) names.push_back("--" + name);
  return fmt::format("  {}{}{}{}", only_long ? "    " : "", fmt::join(names, ", "),
                     kind.empty() ? "" : " ", kind);
}

// The words of `text` in lines from `column` on.
std::string wrapped(const std::string& text, size_t column) {
  std::istringstream words(text);
  std::string result;
  size_t width = column;
  for (std::string word; words >> word;) {
    const bool first = width == column;
    if (!first && width + 1 + word.size() > kWidth) {
      result += '\n' + std::string(column, ' ');
      width = column;
    } else if (!first) {
      result += ' ';
      ++width;
    }
    result += word;
    width += word.size();
  }
  return result;
}

// "dunlin bench model", whoever asks for the help: `dunlin bench model --help` goes down from the
// program, and CLI11 passes the names on its way; `dunlin help bench model` asks the command itself,
// which CLI11 knows by its last name only.
std::string command_path(const CLI::App& command) {
  const CLI::App* const parent = command.get_parent();
  return parent == nullptr ? "dunlin" : command_path(*parent) + " " + command.get_name();
}

std::string HelpFormatter::make_option(const CLI::Option* option, bool is_positional) const {
  std::string line = left_side(*option, is_positional);
  line += line.size() + 2 > kColumn ? '\n' + std::string(kColumn, ' ')
                                    : std::string(kColumn - line.size(), ' ');
  std::string description = option->get_description();
  const bool has_default = option->get_items_expected_max() > 0 && !option->get_required() &&
                           !option->get_default_str().empty();
  if (has_default) description += fmt::format(" [{}]", option->get_default_str());
  return line + wrapped(description, kColumn) + '\n';
}

std::string HelpFormatter::make_usage(const CLI::App* command, std::string /*name*/) const {
  std::string line = "Usage: " + command_path(*command);
  if (!command->get_subcommands({}).empty()) return line + " COMMAND\n";
  for (const CLI::Option* option : command->get_options()) {
    if (!option->get_positional()) continue;
    const std::string place = ascii_upper(option->get_name(true, false));
    line += option->get_required() ? " " + place : " [" + place + "]";
  }
  return line + " [FLAG...]\n";
}

std::string HelpFormatter::make_description(const CLI::App* command) const {
  return command->get_description() + "\n\n";
}

std::string HelpFormatter::make_footer(const CLI::App* command) const {
  std::string footer = command->get_footer();
  if (command->get_option_no_throw(kConfigFlag) != nullptr) {
    footer =
        "A flag that is not given takes its value from a variable (DUNLIN_ARG_MAX_TOKENS), else "
        "from "
        "the\nconfiguration file (max-tokens = 200; --print-config prints one), else from the "
        "model.\n\n" +
        footer;
  }
  return footer.empty() ? footer : footer + "\n";
}

}  // namespace

void set_help_format(Command program) {
  app_of(program).formatter(std::make_shared<HelpFormatter>());
}

}  // namespace dunlin
