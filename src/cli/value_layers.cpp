#include "cli/value_layers.h"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <optional>
#include <string_view>

#include "base/log.h"
#include "cli/argv.h"

namespace dunlin {
namespace {

constexpr std::string_view kVariablePrefix = "DUNLIN_ARG_";

// Without the prefix, of the command and of those below it.
std::vector<std::string> variable_names(const Command& command) {
  std::vector<std::string> names;
  for (const Flag& flag : command.flags()) {
    if (flag.variable().starts_with(kVariablePrefix))
      names.push_back(flag.variable().substr(kVariablePrefix.size()));
  }
  for (const Command& each : command.subcommands()) {
    const auto more = variable_names(each);
    names.insert(names.end(), more.begin(), more.end());
  }
  return names;
}

}  // namespace

Layer variables_of(const Command& command) {
  Layer layer;
  for (const Flag& flag : command.flags()) {
    const std::string name = flag.variable();
    const char* const text = name.empty() ? nullptr : std::getenv(name.c_str());
    if (text == nullptr || (*text == '\0' && !flag.takes_value())) continue;
    layer[flag] = {.values = {text}, .origin = name};
  }
  return layer;
}

void warn_of_unknown_variables(const Command& program) {
  const std::vector<std::string> names = variable_names(program);
  for (char** each = environ; *each != nullptr; ++each) {
    const std::string variable(*each);
    if (!variable.starts_with(kVariablePrefix)) continue;
    const std::string name =
        variable.substr(kVariablePrefix.size(), variable.find('=') - kVariablePrefix.size());
    if (std::ranges::find(names, name) != names.end()) continue;
    const std::string nearest = nearest_name(name, names);
    const std::string question =
        nearest.empty() ? "" : fmt::format("; did you mean {}{}?", kVariablePrefix, nearest);
    log_warning(fmt::format("{}{} belongs to no flag{}", kVariablePrefix, name, question));
  }
}

Result<Layer> settings_of(const Command& command, const std::vector<FileSetting>& settings,
                          const std::string& name) {
  Layer layer;
  for (const FileSetting& setting : settings) {
    const std::optional<Flag> flag = command.find_flag(setting.flag);
    if (setting.command != name || !flag) continue;
    const auto [earlier, fresh] =
        layer.emplace(*flag, Offer{.values = setting.values, .origin = setting.where});
    if (!fresh)
      return usage_error(fmt::format("{} is {} once more", setting.where, earlier->second.origin));
  }
  return layer;
}

LayeredValues::LayeredValues(const Command& command) : command_(command) {
  for (const Flag& flag : command.flags()) {
    if (flag.count() > 0) taken_.insert(flag);
  }
}

void LayeredValues::add(const Layer& layer) {
  const std::set<Flag> above = taken_;
  const auto is_above = [&above](const Flag& flag) { return above.contains(flag); };
  const auto is_open = [&](const Flag& flag) {
    return layer.contains(flag) && !is_above(flag) &&
           std::ranges::none_of(flag.excluded(), is_above);
  };
  for (const Flag& flag : command_.flags()) {
    const bool has_needs = std::ranges::all_of(
        flag.needed(), [&](const Flag& other) { return is_above(other) || is_open(other); });
    if (is_open(flag) && has_needs) add(flag, layer.at(flag));
  }
}

void LayeredValues::add(const Flag& flag, const Offer& offer) {
  taken_.insert(flag);
  origins_[flag.name()] = offer.origin;
  for (const std::string& value : offer.values) {
    if (flag.takes_value()) {
      arguments_.insert(arguments_.end(), {flag.name(), value});
    } else {
      arguments_.push_back(fmt::format("{}={}", flag.name(), value));
    }
  }
}

}  // namespace dunlin
