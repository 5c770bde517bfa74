// Watching: the results of chosen nodes become outputs, so that every step shows their values.
#pragma once

#include <source_location>
#include <string>
#include <vector>

#include "base/result.h"
#include "program/program.h"

namespace dunlin {

struct WatchedValue {
  std::string output;  // name of the Program's output: "watch:" and `name`
  std::string name;    // of the node; results after the first end in "#1", "#2"
  Op op = Op::tap;
  std::source_location where;  // the model's line
};

// Adds an output for every result of every node whose name matches one of the globs, in order of
// execution. Error (kind usage): a pattern that matches no node with a result; it names some that
// there are.
Result<std::vector<WatchedValue>> watch_nodes(Program& program,
                                              const std::vector<std::string>& patterns);

}  // namespace dunlin
