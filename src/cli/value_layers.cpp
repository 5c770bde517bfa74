#include "cli/value_layers.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstdlib>

namespace dunlin {

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
