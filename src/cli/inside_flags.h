// Flags for looking inside: optimisations turned off, nodes watched, and how both are shown.
#pragma once

#include <CLI/CLI.hpp>
#include <memory>
#include <string>
#include <vector>

#include "backend/watch.h"
#include "base/result.h"

namespace dunlin {

// --disable NAME,...; may be repeated.
void add_disable_flag(CLI::App& command, std::vector<std::string>& names);

// The names, `all` standing for every optimisation there is. Error (kind usage): a name that is
// none, with the nearest.
Result<std::vector<std::string>> disabled_optimizations(const std::vector<std::string>& names);

// The names and what each brings, one a line.
std::string optimizations_table();

struct WatchFlags {
  std::vector<std::string> patterns = {};
  std::string until = {};

  void add_to(CLI::App& command);
  // Null when nothing is to be watched. The statistics of every step go to stderr unless `quiet`.
  // Errors (kind usage): a condition that is none, a condition without nodes.
  Result<std::shared_ptr<Watch>> watch(bool quiet) const;
};

// Lines for people: which fusions are prevented, and a table of one step.
std::string blocked_text(const Watch& watch);
std::string step_text(const WatchedStep& step);

}  // namespace dunlin
