#include "cli/flags.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <string_view>

namespace dunlin {
namespace {

// CLI11 reads the words of flags loosely: 2 and -1 are true and false, too.
std::string check_switch(std::string& text) {
  constexpr std::array<std::string_view, 8> kWords = {"1", "true",  "on",  "yes",
                                                      "0", "false", "off", "no"};
  std::string lower = text;
  for (char& letter : lower) {
    if (letter >= 'A' && letter <= 'Z') letter = static_cast<char>(letter - 'A' + 'a');
  }
  if (std::ranges::find(kWords, lower) == kWords.end())
    return fmt::format("\"{}\" is neither true nor false", text);
  text = lower;
  return {};
}

template <typename T>
CLI::Validator range(T low, T high) {
  const auto check = [low, high](std::string& text) -> std::string {
    T value = 0;
    if (const std::string problem = parse_number(text, value); !problem.empty())
      return fmt::format("\"{}\" {}", text, problem);
    if (value < low || value > high) return fmt::format("{} is outside {}..{}", text, low, high);
    return {};
  };
  return CLI::Validator(check, "");
}

}  // namespace

std::string environment_name(const std::string& long_name) {
  std::string name = "DUNLIN_ARG_" + long_name;
  for (char& letter : name) {
    if (letter == '-') letter = '_';
    if (letter >= 'a' && letter <= 'z') letter = static_cast<char>(letter - 'a' + 'A');
  }
  return name;
}

namespace detail {

CLI::Option* add_value(CLI::App& command, const std::string& names, const std::string& help,
                       const char* kind, bool list, Assign assign) {
  // The callback needs the option's name, which is known only after it was added.
  const auto name = std::make_shared<std::string>();
  CLI::Option* const option = command.add_option(
      names, CLI::callback_t([name, assign = std::move(assign)](const CLI::results_t& texts) {
        for (const std::string& text : texts) {
          if (const std::string problem = assign(text); !problem.empty())
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
  return option;
}

}  // namespace detail

CLI::Option* add_flag(CLI::App& command, const std::string& names, std::vector<std::string>& values,
                      const std::string& help) {
  return detail::add_value(command, names, help, "TEXT", /*list=*/true,
                           [&values](const std::string& text) -> std::string {
                             values.push_back(text);
                             return {};
                           });
}

CLI::Option* add_switch(CLI::App& command, const std::string& names, bool& value,
                        const std::string& help) {
  CLI::Option* option = command.add_flag(names, value, help);
  option->check(CLI::Validator(check_switch, ""));
  return option->envname(environment_name(option->get_lnames().front()));
}

FlagGroup::FlagGroup(CLI::App& command, std::string name)
    : command_(command), name_(std::move(name)), before_(command.get_options().size()) {}

FlagGroup::~FlagGroup() {
  const auto options = command_.get_options();
  for (size_t i = before_; i < options.size(); ++i) options[i]->group(name_);
}

CLI::Validator in_range(int64_t low, int64_t high) {
  return range(low, high);
}
CLI::Validator in_real_range(double low, double high) {
  return range(low, high);
}

CLI::Validator one_of(const std::vector<std::string>& words) {
  const auto check = [words](std::string& text) -> std::string {
    if (std::ranges::find(words, text) != words.end()) return {};
    return fmt::format("\"{}\" is not one of {}", text, fmt::join(words, ", "));
  };
  return CLI::Validator(check, fmt::format("{}", fmt::join(words, "|")));
}

CLI::Validator not_empty() {
  return CLI::Validator(
      [](std::string& text) { return text.empty() ? "the text is empty" : std::string(); }, "");
}

}  // namespace dunlin
