#include "cli/print_config.h"

#include <fmt/format.h>

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "checkpoint/checkpoint.h"
#include "cli/options.h"

namespace dunlin {
namespace {

struct ConfigValue {
  std::vector<std::string> texts = {};
  std::string origin = {};
};

// A TOML basic string.
std::string quoted(const std::string& text) {
  std::string result = "\"";
  for (const char each : text) {
    const auto code = static_cast<unsigned char>(each);
    if (each == '"' || each == '\\') {
      result += '\\';
      result += each;
    } else if (each == '\n') {
      result += "\\n";
    } else if (code < 0x20 || code == 0x7f) {
      result += fmt::format("\\u{:04X}", code);
    } else {
      result += each;
    }
  }
  return result + '"';
}

std::string toml_value(const CLI::Option& option, const std::vector<std::string>& texts) {
  const std::string kind = option.get_type_name();
  const bool plain = option.get_items_expected_max() == 0 || kind == "INT" || kind == "NUMBER";
  std::vector<std::string> values;
  for (const std::string& text : texts) values.push_back(plain ? text : quoted(text));
  const bool list = option.get_items_expected_max() > 1;
  return list ? fmt::format("[{}]", fmt::join(values, ", ")) : values.front();
}

ConfigValue value_of(const CLI::Option& option, const CommandLine& line,
                     const Checkpoint* checkpoint) {
  if (option.count() > 0) {
    const auto origin = line.origins.find(option.get_name());
    return {option.results(), origin == line.origins.end() ? "command line" : origin->second};
  }
  const char* const key = generation_key(option.get_name());
  if (checkpoint != nullptr && key != nullptr) {
    if (const auto number = checkpoint->config().number(key, -1e30, 1e30); number.ok())
      return {{fmt::format("{}", static_cast<float>(*number))}, "the model's configuration"};
  }
  if (option.get_items_expected_max() == 0) return {{"false"}, "built-in"};
  if (!option.get_default_str().empty()) return {{option.get_default_str()}, "built-in"};
  return {};
}

const CLI::App& selected_command(const CLI::App& app) {
  const auto parsed = app.get_subcommands();
  return parsed.empty() ? app : selected_command(*parsed.front());
}

// The model that the line names, where flags look into it.
Result<std::unique_ptr<Checkpoint>> open_model(const CLI::App& command) {
  const CLI::Option* const model = command.get_option_no_throw("--model");
  const bool samples = command.get_option_no_throw("--temp") != nullptr;
  if (!samples || model == nullptr || model->count() == 0) return std::unique_ptr<Checkpoint>();
  return open_checkpoint(model->results().front());
}

}  // namespace

Result<void> print_config(const CLI::App& app, const CommandLine& line) {
  const CLI::App& command = selected_command(app);
  DUNLIN_ASSIGN_OR_RETURN(const auto checkpoint, open_model(command));
  for (const CLI::Option* option : command.get_options()) {
    if (option->get_envname().empty() || option->check_name(kConfigFlag)) continue;
    const std::string name = option->get_name().substr(2);
    const ConfigValue value = value_of(*option, line, checkpoint.get());
    if (value.texts.empty()) {
      fmt::print("# {} is not set\n", name);
    } else {
      fmt::print("{:<48} # {}\n", fmt::format("{} = {}", name, toml_value(*option, value.texts)),
                 value.origin);
    }
  }
  return {};
}

}  // namespace dunlin
