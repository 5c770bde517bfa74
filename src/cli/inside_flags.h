// Flags for looking inside: optimisations turned off, nodes watched, and how both are shown.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "backend/watch.h"
#include "base/result.h"
#include "cli/command.h"

namespace dunlin {

// --layers N, where -1 stands for all; `help` says what for.
Flag add_layers_flag(Command command, int64_t& layers, const std::string& help);

// --disable NAME,...; may be repeated. A name that is none is refused with the nearest.
Flag add_disable_flag(Command command, std::vector<std::string>& names);

// The names of the flag, `all` standing for every optimisation that changes no result.
std::vector<std::string> disabled_optimizations(const std::vector<std::string>& names);

// The names and what each brings, one a line.
std::string optimizations_table();

struct WatchFlags {
  std::vector<std::string> patterns = {};
  std::string until = {};

  void add_to(Command command);
  // Null when nothing is to be watched. The statistics of every step go to stderr unless `quiet`.
  // Error (kind usage): a condition that is none.
  Result<std::shared_ptr<Watch>> watch(bool quiet) const;
};

// Lines for people: which fusions are prevented, and a table of one step.
std::string blocked_text(const Watch& watch);
std::string step_text(const WatchedStep& step);

}  // namespace dunlin
