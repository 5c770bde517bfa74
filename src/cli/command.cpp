#include "cli/command.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "base/ascii.h"
#include "cli/parser.h"

namespace dunlin {
namespace {

template <typename Options>
std::vector<Flag> flags_of(const Options& options) {
  std::vector<Flag> flags;
  for (CLI::Option* const option : options) flags.emplace_back(*option);
  return flags;
}

}  // namespace

std::string environment_name(const std::string& long_name) {
  std::string name = fmt::format("DUNLIN_ARG_{}", ascii_upper(long_name));
  std::ranges::replace(name, '-', '_');
  return name;
}

CLI::App& app_of(const Command& command) {
  return *command.app_;
}

std::string value_kind(const CLI::Option& option) {
  if (option.get_items_expected_max() == 0) return {};
  const std::string kind = option.get_type_name();
  const size_t words = kind.find(':');
  return words == std::string::npos ? kind : kind.substr(words + 1);
}

Flag& Flag::required(bool required) {
  option_->required(required);
  return *this;
}

Flag& Flag::type_name(const std::string& name) {
  option_->type_name(name);
  return *this;
}

Flag& Flag::default_str(const std::string& text) {
  option_->default_str(text);
  return *this;
}

Flag& Flag::delimiter(char delimiter) {
  option_->delimiter(delimiter);
  return *this;
}

Flag& Flag::excludes(Flag other) {
  option_->excludes(other.option_);
  return *this;
}

Flag& Flag::needs(Flag other) {
  option_->needs(other.option_);
  return *this;
}

Flag& Flag::group(const std::string& heading) {
  option_->group(heading);
  return *this;
}

Flag& Flag::variable(const std::string& name) {
  option_->envname(name);
  return *this;
}

Flag& Flag::check(const Check& check) {
  option_->check(check.problem, check.words);
  return *this;
}

Flag& Flag::transform(
    const std::function<Result<std::string>(const std::string& text)>& transform) {
  const auto replace = [transform](std::string& text) {
    Result<std::string> made = transform(text);
    if (!made.ok()) throw TransformError(made.error());
    text = std::move(made).value();
    return std::string();
  };
  option_->transform(CLI::Validator(replace, ""));
  return *this;
}

std::string Flag::name() const {
  return option_->get_name();
}
bool Flag::has_name(const std::string& name) const {
  return option_->check_name(name);
}
const std::vector<std::string>& Flag::long_names() const {
  return option_->get_lnames();
}
const std::vector<std::string>& Flag::short_names() const {
  return option_->get_snames();
}
bool Flag::is_positional() const {
  return option_->get_positional();
}
bool Flag::is_named() const {
  return option_->nonpositional();
}
const std::string& Flag::description() const {
  return option_->get_description();
}
std::string Flag::value_kind() const {
  return dunlin::value_kind(*option_);
}
std::string Flag::default_str() const {
  return option_->get_default_str();
}
std::string Flag::variable() const {
  return option_->get_envname();
}
bool Flag::takes_value() const {
  return option_->get_items_expected_max() > 0;
}
bool Flag::takes_list() const {
  return option_->get_items_expected_max() > 1;
}
std::vector<Flag> Flag::excluded() const {
  return flags_of(option_->get_excludes());
}
std::vector<Flag> Flag::needed() const {
  return flags_of(option_->get_needs());
}
size_t Flag::count() const {
  return option_->count();
}
const std::vector<std::string>& Flag::values() const {
  return option_->results();
}

Command Command::add_command(const std::string& name, const std::string& description) {
  return Command(*app_->add_subcommand(name, description));
}

void Command::description(const std::string& text) {
  app_->description(text);
}
void Command::footer(const std::string& text) {
  app_->footer(text);
}
void Command::callback(const std::function<void()>& run) {
  app_->callback(run);
}
void Command::require_subcommand() {
  app_->require_subcommand(1);
}
void Command::version_flag(const std::string& name, const std::string& text) {
  app_->set_version_flag(name, text);
}

Flag Command::add_value(const std::string& names, const std::string& help, const std::string& kind,
                        bool list, const TakeValue& take) {
  // The callback needs the option's name, which is known only after it was added.
  const auto name = std::make_shared<std::string>();
  CLI::Option* const option = app_->add_option(
      names, CLI::callback_t([name, take](const CLI::results_t& texts) {
        for (const std::string& text : texts) {
          if (const std::string problem = take(text); !problem.empty())
            throw CLI::ValidationError(*name, fmt::format("\"{}\" {}", text, problem));
        }
        return true;
      }),
      help);
  *name = option->get_name();
  option->type_name(kind);
  if (list) {
    option->expected(1, CLI::detail::expected_max_vector_size);
    option->multi_option_policy(CLI::MultiOptionPolicy::TakeAll);
  }
  // One value per occurrence: a list must not take the arguments that follow it.
  option->allow_extra_args(false);
  if (!option->get_lnames().empty())
    option->envname(environment_name(option->get_lnames().front()));
  return Flag(*option);
}

Flag Command::add_switch(const std::string& names, const std::string& help, bool& value) {
  CLI::Option* const option = app_->add_flag(names, value, help);
  option->envname(environment_name(option->get_lnames().front()));
  return Flag(*option);
}

Flag Command::add_arguments(const std::string& name, const std::string& help,
                            std::vector<std::string>& values) {
  return Flag(*app_->add_option(name, values, help));
}

std::string Command::name() const {
  return app_->get_name();
}
std::string Command::description() const {
  return app_->get_description();
}
std::string Command::help() const {
  return app_->help();
}

std::vector<Command> Command::subcommands() const {
  std::vector<Command> commands;
  for (CLI::App* const each : app_->get_subcommands({})) commands.emplace_back(*each);
  return commands;
}

std::vector<std::string> Command::subcommand_names() const {
  std::vector<std::string> names;
  for (const Command& each : subcommands()) names.push_back(each.name());
  return names;
}

std::optional<Command> Command::find_subcommand(const std::string& name) const {
  for (const Command& each : subcommands()) {
    if (each.name() == name) return each;
  }
  return std::nullopt;
}

std::vector<Flag> Command::flags() const {
  return flags_of(app_->get_options());
}

Flag Command::flag(const std::string& name) const {
  return Flag(*app_->get_option(name));
}

std::optional<Flag> Command::find_flag(const std::string& name) const {
  CLI::Option* const option = app_->get_option_no_throw(name);
  return option == nullptr ? std::nullopt : std::optional<Flag>(*option);
}

std::optional<Command> Command::selected() const {
  const std::vector<CLI::App*> parsed = app_->get_subcommands();
  return parsed.empty() ? std::nullopt : std::optional<Command>(*parsed.front());
}

CommandTree::CommandTree() : app_(std::make_unique<CLI::App>()) {}
CommandTree::~CommandTree() = default;

}  // namespace dunlin
