#include "cli/value_layers.h"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <string_view>

#include "base/log.h"
#include "cli/argv.h"

namespace dunlin {
namespace {

constexpr std::string_view kVariablePrefix = "DUNLIN_ARG_";

// Without the prefix, of the command and of those below it.
std::vector<std::string> variable_names(const CLI::App& command) {
  std::vector<std::string> names;
  for (const CLI::Option* option : command.get_options()) {
    if (option->get_envname().starts_with(kVariablePrefix))
      names.push_back(option->get_envname().substr(kVariablePrefix.size()));
  }
  for (const CLI::App* each : command.get_subcommands({})) {
    const auto more = variable_names(*each);
    names.insert(names.end(), more.begin(), more.end());
  }
  return names;
}

}  // namespace

bool takes_value(const CLI::Option& option) {
  return option.get_items_expected_max() > 0;
}

Layer variables_of(const CLI::App& command) {
  Layer layer;
  for (const CLI::Option* option : command.get_options()) {
    const std::string& name = option->get_envname();
    const char* const text = name.empty() ? nullptr : std::getenv(name.c_str());
    if (text == nullptr || (*text == '\0' && !takes_value(*option))) continue;
    layer[option] = {.values = {text}, .origin = name};
  }
  return layer;
}

void warn_of_unknown_variables(const CLI::App& app) {
  const std::vector<std::string> names = variable_names(app);
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

Result<Layer> settings_of(const CLI::App& command, const std::vector<FileSetting>& settings,
                          const std::string& name) {
  Layer layer;
  for (const FileSetting& setting : settings) {
    const CLI::Option* const option = command.get_option_no_throw(setting.flag);
    if (setting.command != name || option == nullptr) continue;
    const auto [earlier, fresh] =
        layer.emplace(option, Offer{.values = setting.values, .origin = setting.where});
    if (!fresh)
      return usage_error(fmt::format("{} is {} once more", setting.where, earlier->second.origin));
  }
  return layer;
}

LayeredValues::LayeredValues(const CLI::App& command) : command_(command) {
  for (const CLI::Option* option : command.get_options()) {
    if (option->count() > 0) taken_.insert(option);
  }
}

void LayeredValues::add(const Layer& layer) {
  const std::set<const CLI::Option*> above = taken_;
  const auto is_above = [&above](const CLI::Option* option) { return above.contains(option); };
  const auto is_open = [&](const CLI::Option* option) {
    return layer.contains(option) && !is_above(option) &&
           std::ranges::none_of(option->get_excludes(), is_above);
  };
  for (const CLI::Option* option : command_.get_options()) {
    const bool has_needs = std::ranges::all_of(option->get_needs(), [&](const CLI::Option* other) {
      return is_above(other) || is_open(other);
    });
    if (is_open(option) && has_needs) add(*option, layer.at(option));
  }
}

void LayeredValues::add(const CLI::Option& option, const Offer& offer) {
  taken_.insert(&option);
  origins_[option.get_name()] = offer.origin;
  for (const std::string& value : offer.values) {
    if (takes_value(option)) {
      arguments_.insert(arguments_.end(), {option.get_name(), value});
    } else {
      arguments_.push_back(fmt::format("{}={}", option.get_name(), value));
    }
  }
}

}  // namespace dunlin
