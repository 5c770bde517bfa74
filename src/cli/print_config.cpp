#include "cli/print_config.h"

#include <fmt/format.h>

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "checkpoint/checkpoint.h"
#include "cli/sampling_flags.h"

namespace dunlin {
namespace {

constexpr const char* kSecretFlag = "--token";  // of pull: what is printed here is shown to others

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

std::string toml_value(const Flag& flag, const std::vector<std::string>& texts) {
  const std::string kind = flag.value_kind();
  const bool plain = !flag.takes_value() || kind == "INT" || kind == "NUMBER";
  std::vector<std::string> values;
  for (const std::string& text : texts) values.push_back(plain ? text : quoted(text));
  return flag.takes_list() ? fmt::format("[{}]", fmt::join(values, ", ")) : values.front();
}

ConfigValue value_of(const Flag& flag, const CommandLine& line, const Checkpoint* checkpoint) {
  if (flag.count() > 0) {
    const auto origin = line.origins.find(flag.name());
    return {flag.values(), origin == line.origins.end() ? "command line" : origin->second};
  }
  const char* const key = generation_key(flag.name());
  if (checkpoint != nullptr && key != nullptr) {
    if (const auto number = checkpoint->config().number(key, -1e30, 1e30); number.ok())
      return {{fmt::format("{}", static_cast<float>(*number))}, "the model's configuration"};
  }
  if (!flag.takes_value()) return {{"false"}, "built-in"};
  if (!flag.default_str().empty()) return {{flag.default_str()}, "built-in"};
  return {};
}

Command selected_command(const Command& command) {
  const std::optional<Command> selected = command.selected();
  return selected ? selected_command(*selected) : command;
}

// The model that the line names, where flags look into it.
Result<std::unique_ptr<Checkpoint>> open_model(const Command& command) {
  const std::optional<Flag> model = command.find_flag("--model");
  const bool samples = command.find_flag("--temp").has_value();
  if (!samples || !model || model->count() == 0) return std::unique_ptr<Checkpoint>();
  return open_checkpoint(model->values().front());
}

}  // namespace

Result<void> print_config(const Command& program, const CommandLine& line) {
  const Command command = selected_command(program);
  DUNLIN_ASSIGN_OR_RETURN(const auto checkpoint, open_model(command));
  for (const Flag& flag : command.flags()) {
    if (flag.variable().empty() || flag.has_name(kConfigFlag)) continue;
    const std::string name = flag.name().substr(2);
    const ConfigValue value = value_of(flag, line, checkpoint.get());
    if (value.texts.empty()) {
      fmt::print("# {} is not set\n", name);
    } else if (flag.has_name(kSecretFlag)) {
      fmt::print("# {} is set, by {}, and not shown\n", name, value.origin);
    } else {
      fmt::print("{:<48} # {}\n", fmt::format("{} = {}", name, toml_value(flag, value.texts)),
                 value.origin);
    }
  }
  return {};
}

}  // namespace dunlin
