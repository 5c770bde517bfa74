#include "cli/settings_file.h"

#include <fmt/format.h>
#include <toml++/toml.h>

#include <algorithm>
#include <filesystem>

#include "base/user_folders.h"
#include "cli/argv.h"
#include "cli/read_input.h"

namespace dunlin {
namespace {

constexpr uint64_t kMostBytes = 1u << 20;

// Flags that a file may set: those that have a variable.
std::vector<std::string> names_of_flags(const Command& command, bool with_subcommands) {
  std::vector<std::string> names;
  for (const Flag& flag : command.flags()) {
    if (flag.variable().empty() || flag.has_name("--config")) continue;
    for (const std::string& name : flag.long_names()) names.push_back("--" + name);
  }
  if (!with_subcommands) return names;
  for (const Command& each : command.subcommands()) {
    const auto more = names_of_flags(each, true);
    names.insert(names.end(), more.begin(), more.end());
  }
  return names;
}

class SettingsParser {
 public:
  SettingsParser(std::string origin, const Command& program)
      : origin_(std::move(origin)), program_(program) {}

  Result<void> read(const toml::table& table) { return read_table(table, program_, {}); }
  std::vector<FileSetting> take() { return std::move(settings_); }

 private:
  Error error_at(const toml::source_position& place, std::string_view problem) const {
    return usage_error(fmt::format("{}:{}: {}", origin_, place.line, problem));
  }

  Result<void> read_table(const toml::table& table, const Command& command,
                          const std::string& path) {
    for (const auto& [key, node] : table) {
      const std::string name(key.str());
      if (const toml::table* const section = node.as_table()) {
        DUNLIN_RETURN_IF_ERROR(read_section(*section, name, key.source().begin, command, path));
      } else {
        DUNLIN_RETURN_IF_ERROR(read_setting(node, name, key.source().begin, command, path));
      }
    }
    return {};
  }

  Result<void> read_section(const toml::table& section, const std::string& name,
                            const toml::source_position& place, const Command& command,
                            const std::string& path) {
    const std::optional<Command> below = command.find_subcommand(name);
    if (below) return read_table(section, *below, path.empty() ? name : path + " " + name);
    return error_at(place, unknown_name("[" + name + "]", "command", command.subcommand_names()));
  }

  Result<void> read_setting(const toml::node& node, const std::string& name,
                            const toml::source_position& place, const Command& command,
                            const std::string& path) {
    std::string flag = "--" + name;
    std::ranges::replace(flag, '_', '-');
    const auto known = names_of_flags(command, path.empty());
    if (std::ranges::find(known, flag) == known.end()) {
      std::vector<std::string> plain;
      for (const std::string& each : known) plain.push_back(each.substr(2));
      return error_at(place, unknown_name(name, "setting", plain));
    }
    FileSetting setting{.command = path, .flag = flag};
    setting.where = fmt::format("{}:{}: {}", origin_, place.line, name);
    DUNLIN_RETURN_IF_ERROR(read_values(node, setting));
    settings_.push_back(std::move(setting));
    return {};
  }

  Result<void> read_values(const toml::node& node, FileSetting& setting) const {
    if (const toml::array* const list = node.as_array()) {
      for (const toml::node& each : *list) {
        if (each.is_array())
          return error_at(each.source().begin, "a list within a list is not a value of a flag");
        DUNLIN_RETURN_IF_ERROR(read_values(each, setting));
      }
      return {};
    }
    if (const auto* const text = node.as_string()) {
      setting.values.push_back(text->get());
    } else if (const auto* const truth = node.as_boolean()) {
      setting.values.emplace_back(truth->get() ? "true" : "false");
    } else if (const auto* const integer = node.as_integer()) {
      setting.values.push_back(fmt::to_string(integer->get()));
    } else if (const auto* const number = node.as_floating_point()) {
      setting.values.push_back(fmt::format("{}", number->get()));
    } else {
      return error_at(
          node.source().begin,
          setting.flag.substr(2) + " is neither text, a number, true, false nor a list");
    }
    return {};
  }

  std::string origin_;
  Command program_;
  std::vector<FileSetting> settings_ = {};
};

}  // namespace

Result<std::vector<FileSetting>> parse_settings(const std::string& text, const std::string& origin,
                                                const Command& program) {
  try {
    const toml::table table = toml::parse(text);
    SettingsParser parser(origin, program);
    DUNLIN_RETURN_IF_ERROR(parser.read(table));
    return parser.take();
  } catch (const toml::parse_error& error) {
    return usage_error(
        fmt::format("{}:{}: {}", origin, error.source().begin.line, error.description()));
  }
}

Result<std::vector<FileSetting>> read_settings(const std::optional<std::string>& path,
                                               const Command& program) {
  std::string file;
  if (path.has_value()) {
    file = *path;
  } else if (const auto folder = config_folder()) {
    // Where one cannot tell, opening it says why.
    std::error_code ignored;
    const std::string usual = *folder + "/config.toml";
    const auto status = std::filesystem::symlink_status(usual, ignored);
    if (status.type() != std::filesystem::file_type::not_found) file = usual;
  }
  if (file.empty()) return std::vector<FileSetting>{};
  DUNLIN_ASSIGN_OR_RETURN(const std::string text, read_user_file(file, kMostBytes));
  return parse_settings(text, file, program);
}

}  // namespace dunlin
