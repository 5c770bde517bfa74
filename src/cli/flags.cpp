#include "cli/flags.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <string_view>
#include <utility>

#include "base/ascii.h"

namespace dunlin {
namespace {

// CLI11 reads the words of flags loosely: 2 and -1 are true and false, too.
std::string check_switch(const std::string& text) {
  constexpr std::array<std::string_view, 8> kWords = {"1", "true",  "on",  "yes",
                                                      "0", "false", "off", "no"};
  if (std::ranges::find(kWords, ascii_lower(text)) == kWords.end())
    return fmt::format("\"{}\" is neither true nor false", text);
  return {};
}

template <typename T>
Check range(T low, T high) {
  return {[low, high](const std::string& text) -> std::string {
    T value = 0;
    if (const std::string problem = parse_number(text, value); !problem.empty())
      return fmt::format("\"{}\" {}", text, problem);
    if (value < low || value > high) return fmt::format("{} is outside {}..{}", text, low, high);
    return {};
  }};
}

}  // namespace

std::string detail::number_text(double value) {
  return fmt::format("{:.6g}", value);
}

Flag add_flag(Command command, const std::string& names, std::vector<std::string>& values,
              const std::string& help) {
  return command.add_value(names, help, "TEXT", /*list=*/true,
                           [&values](const std::string& text) -> std::string {
                             values.push_back(text);
                             return {};
                           });
}

Flag add_switch(Command command, const std::string& names, bool& value, const std::string& help) {
  return command.add_switch(names, help, value).check({check_switch});
}

FlagGroup::FlagGroup(Command command, std::string name)
    : command_(command), name_(std::move(name)), before_(command.flags().size()) {}

FlagGroup::~FlagGroup() {
  std::vector<Flag> flags = command_.flags();
  for (size_t i = before_; i < flags.size(); ++i) flags[i].group(name_);
}

Check in_range(int64_t low, int64_t high) {
  return range(low, high);
}
Check in_real_range(double low, double high) {
  return range(low, high);
}

Check one_of(const std::vector<std::string>& words) {
  const auto problem = [words](const std::string& text) -> std::string {
    if (std::ranges::find(words, text) != words.end()) return {};
    return fmt::format("\"{}\" is not one of {}", text, fmt::join(words, ", "));
  };
  return {problem, fmt::format("{}", fmt::join(words, "|"))};
}

Check not_empty() {
  return {
      [](const std::string& text) { return text.empty() ? "the text is empty" : std::string(); }};
}

}  // namespace dunlin
