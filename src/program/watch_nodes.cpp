// One pass over the nodes.
#include "program/watch_nodes.h"

#include <fmt/format.h>

#include <algorithm>

#include "program/glob.h"

namespace dunlin {

namespace {

Error no_match(const Program& program, const std::string& pattern) {
  constexpr size_t kExamples = 5;
  std::vector<std::string> names;
  for (const Node& node : program.nodes) {
    if (names.size() < kExamples && !node.results.empty()) names.push_back(node.name);
  }
  return usage_error(
      fmt::format("no node of model {} matches \"{}\"; its nodes are {}, ... (inspect --program "
                  "lists them all)",
                  program.model, pattern, fmt::join(names, ", ")));
}

}  // namespace

Result<std::vector<WatchedValue>> watch_nodes(Program& program,
                                              const std::vector<std::string>& patterns) {
  std::vector<WatchedValue> watched;
  std::vector<bool> matched(patterns.size(), false);
  for (const Node& node : program.nodes) {
    if (node.results.empty()) continue;
    bool wanted = false;
    for (size_t i = 0; i < patterns.size(); ++i) {
      if (!glob_match(patterns[i], node.name)) continue;
      matched[i] = wanted = true;
    }
    if (!wanted) continue;
    for (size_t result = 0; result < node.results.size(); ++result) {
      const std::string name = result == 0 ? node.name : fmt::format("{}#{}", node.name, result);
      watched.push_back({"watch:" + name, name, node.op, node.where});
      program.outputs.push_back({watched.back().output, node.results[result]});
    }
  }
  const auto unmatched = std::ranges::find(matched, false);
  if (unmatched != matched.end())
    return no_match(program, patterns[static_cast<size_t>(unmatched - matched.begin())]);
  return watched;
}

}  // namespace dunlin
