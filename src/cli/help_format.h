// How --help shows a command: one flag a line with its values, default and a wrapped description.
#pragma once

#include <CLI/CLI.hpp>
#include <string>

namespace dunlin {

class HelpFormatter final : public CLI::Formatter {
 public:
  std::string make_option(const CLI::Option* option, bool is_positional) const override;
  std::string make_usage(const CLI::App* command, std::string name) const override;
  std::string make_description(const CLI::App* command) const override;
  std::string make_footer(const CLI::App* command) const override;
};

// What stands for the value of a flag: "N", "FILE", or its words: "cpu|reference". Empty for a
// switch.
std::string value_kind(const CLI::Option& option);

}  // namespace dunlin
