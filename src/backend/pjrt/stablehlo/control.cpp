// Loops, and what keeps values in them.
#include <fmt/format.h>

#include "backend/pjrt/stablehlo/builder.h"

namespace dunlin::pjrt {

// The text of a region with these arguments: a block that returns what `body` gives.
std::string Builder::region(const Vars& arguments, const std::function<Vars(const Vars&)>& body) {
  std::string outer;
  outer.swap(body_);
  Vars own;
  std::string declared;
  for (const Var& argument : arguments) {
    own.push_back({fresh(), argument.type});
    declared += fmt::format("{}{}: {}", declared.empty() ? "" : ", ", own.back().name,
                            argument.type.text());
  }
  ++depth_;
  const Vars results = body(own);
  line(fmt::format("stablehlo.return {} : {}", join_names(results), join_types(results)));
  --depth_;
  outer.swap(body_);
  return fmt::format("{{\n^bb0({}):\n{}}}", declared, outer);
}

Vars Builder::while_loop(const Vars& initial, const Condition& condition, const Body& body) {
  const std::string until =
      region(initial, [&](const Vars& values) { return Vars{condition(values)}; });
  const std::string step = region(initial, body);
  std::vector<TensorType> types;
  for (const Var& value : initial) types.push_back(value.type);
  const std::string list = join_types(initial);
  return emit_many(fmt::format("\"stablehlo.while\"({}) ({}, {}) : ({}) -> ({})",
                               join_names(initial), until, step, list, list),
                   types);
}

Vars Builder::counted_loop(const Var& count, const Vars& initial, const CountedBody& body) {
  Vars carried = {scalar(0), count};
  carried.insert(carried.end(), initial.begin(), initial.end());
  const Vars results = while_loop(
      carried, [this](const Vars& values) { return compare("LT", values[0], values[1]); },
      [&](const Vars& values) {
        const Vars inner = body(values[0], {values.begin() + 2, values.end()});
        Vars next = {plus(values[0], 1.0), values[1]};
        next.insert(next.end(), inner.begin(), inner.end());
        return next;
      });
  return {results.begin() + 2, results.end()};
}

Vars Builder::barrier(const Vars& values) {
  std::vector<TensorType> types;
  for (const Var& value : values) types.push_back(value.type);
  const std::string list = join_types(values);
  return emit_many(fmt::format("\"stablehlo.optimization_barrier\"({}) : ({}) -> ({})",
                               join_names(values), list, list),
                   types);
}

}  // namespace dunlin::pjrt
