// A watch on the nodes that give `linear` its inputs; of mixtures, on those with the rows, with the
// experts that each row goes to, and on the experts themselves, which give the inputs of down.
#include "eval/importance.h"

#include <fmt/format.h>

#include <set>
#include <span>
#include <utility>

#include "base/check.h"
#include "checkpoint/checkpoint.h"
#include "models/registry.h"

namespace dunlin {
namespace {

// The value that experts get rows of, and how many experts there are.
struct Mixture {
  std::string rows;
  int64_t experts = 0;
};

// The experts of each row of a step, one row after the other.
struct Choices {
  std::vector<int32_t> experts = {};
  int64_t of_all = 0;  // experts of the mixture
};

const Value& operand(const Program& program, const Node& node, size_t number) {
  return program.values[static_cast<size_t>(node.operands[number])];
}

const std::string& node_of(const Program& program, const Value& value) {
  return program.nodes[static_cast<size_t>(value.node)].name;
}

// As a watch calls it.
std::string name_of(const Program& program, const Value& value) {
  const std::string& node = node_of(program, value);
  return value.result == 0 ? node : fmt::format("{}#{}", node, value.result);
}

const WeightDeclaration& weight_of(const Program& program, const Value& value) {
  return program.weights[static_cast<size_t>(value.weight)];
}

void add_squares(const float* row, size_t columns, double* sums) {
  for (size_t k = 0; k < columns; ++k) {
    const auto x = static_cast<double>(row[k]);
    sums[k] += x * x;
  }
}

void add_rows(const View& rows, InputSquares& squares) {
  DUNLIN_CHECK(rows.dtype == DType::f32, "inputs of a matrix that are not f32");
  const auto columns = static_cast<size_t>(rows.shape.back());
  const int64_t count = element_count(rows.shape) / rows.shape.back();
  squares.sums.resize(columns);
  squares.rows.resize(1);
  squares.rows[0] += count;
  const float* row = rows.f32();
  for (int64_t i = 0; i < count; ++i, row += columns)
    add_squares(row, columns, squares.sums.data());
}

// `each` choices share a row of `rows`.
void add_routed(const Choices& choices, size_t each, std::span<const float> rows,
                InputSquares& squares) {
  const size_t count = choices.experts.size();
  const size_t columns = rows.size() / (count / each);
  squares.sums.resize(static_cast<size_t>(choices.of_all) * columns);
  squares.rows.resize(static_cast<size_t>(choices.of_all));
  for (size_t i = 0; i < count; ++i) {
    const auto expert = static_cast<size_t>(choices.experts[i]);
    ++squares.rows[expert];
    add_squares(rows.data() + i / each * columns, columns, squares.sums.data() + expert * columns);
  }
}

std::span<const float> floats_of(const View& view) {
  DUNLIN_CHECK(view.dtype == DType::f32, "inputs of experts that are not f32");
  return {view.f32(), static_cast<size_t>(element_count(view.shape))};
}

}  // namespace

struct ImportanceMeasurement::Measured {
  std::set<std::string> linear;               // values that are inputs of `linear`
  std::map<std::string, Mixture> mixtures;    // by the value with the experts of each row
  std::set<std::string> routed;               // the rows of mixtures
  std::map<std::string, std::string> hidden;  // inputs of down, to the value with their experts
  std::map<std::string, std::vector<float>> rows;  // of this step, until their experts are known
  std::map<std::string, Choices> choices;          // of this step, until down's inputs came
  std::map<std::string, InputSquares> squares;     // by value of `linear`, `mixtures` and `hidden`

  void add(const std::string& name, const View& view) {
    if (linear.contains(name)) add_rows(view, squares[name]);
    if (routed.contains(name)) {
      const std::span<const float> values = floats_of(view);
      rows[name].assign(values.begin(), values.end());
    }
    if (const auto it = mixtures.find(name); it != mixtures.end())
      add_choices(name, it->second, view);
    if (const auto it = hidden.find(name); it != hidden.end()) {
      const auto chosen = choices.find(it->second);
      DUNLIN_CHECK(chosen != choices.end(), "inputs of experts that were not seen");
      add_routed(chosen->second, 1, floats_of(view), squares[name]);
      choices.erase(chosen);
    }
  }

  // `routes` [rows, k] are the experts of each row.
  void add_choices(const std::string& name, const Mixture& mixture, const View& routes) {
    DUNLIN_CHECK(routes.dtype == DType::i32, "numbers of experts that are not i32");
    const auto inputs = rows.find(mixture.rows);
    DUNLIN_CHECK(inputs != rows.end(), "experts of rows that were not seen");
    const int32_t* const first = routes.i32();
    Choices& chosen = choices[name];
    chosen = {.experts = {first, first + element_count(routes.shape)}, .of_all = mixture.experts};
    add_routed(chosen, static_cast<size_t>(routes.shape.back()), inputs->second, squares[name]);
    rows.erase(inputs);
  }
};

Result<ImportanceMeasurement> ImportanceMeasurement::prepare(const std::string& path) {
  DUNLIN_ASSIGN_OR_RETURN(const auto checkpoint, open_checkpoint(path));
  DUNLIN_ASSIGN_OR_RETURN(const Program program,
                          record_model(checkpoint->config(), {.keeps_hidden = true}));
  ImportanceMeasurement measurement;
  measurement.measured_ = std::make_shared<Measured>();
  Measured& measured = *measurement.measured_;
  std::set<std::string> nodes;
  const auto measure = [&](const Value& weight, const Value& value) {
    nodes.insert(node_of(program, value));
    measurement.value_of_weight_.emplace(weight_of(program, weight).name, name_of(program, value));
  };
  for (const Node& node : program.nodes) {
    if (node.op != Op::linear && node.op != Op::experts) continue;
    const Value& input = operand(program, node, 0);
    if (input.kind != Value::Kind::node) continue;
    if (node.op == Op::linear) {
      const Value& weight = operand(program, node, 1);
      if (weight.kind != Value::Kind::weight) continue;
      measured.linear.insert(name_of(program, input));
      measure(weight, input);
      continue;
    }
    // x, experts, weights of them, gate, up, down. Values come in the order of their nodes.
    const Value& routes = operand(program, node, 1);
    const Value& gate = operand(program, node, 3);
    if (routes.kind != Value::Kind::node || input.node >= routes.node) continue;
    const auto [mixture, added] = measured.mixtures.emplace(
        name_of(program, routes),
        Mixture{name_of(program, input), weight_of(program, gate).shape().front().size});
    DUNLIN_CHECK(added, "two mixtures with the same routes");
    measured.routed.insert(mixture->second.rows);
    nodes.insert(node_of(program, input));
    measure(gate, routes);
    measure(operand(program, node, 4), routes);
    const Value& hidden = program.values[static_cast<size_t>(node.results[1])];
    measured.hidden.emplace(name_of(program, hidden), mixture->first);
    measure(operand(program, node, 5), hidden);
  }
  measurement.watch_ =
      Watch::create({.patterns = {nodes.begin(), nodes.end()},
                     .on_value = [values = measurement.measured_](
                                     const WatchedValue& value,
                                     const View& view) { values->add(value.name, view); },
                     .keeps_hidden = true});
  return measurement;
}

std::map<std::string, InputSquares> ImportanceMeasurement::squares() const {
  std::map<std::string, InputSquares> squares;
  for (const auto& [weight, value] : value_of_weight_) {
    const auto it = measured_->squares.find(value);
    if (it != measured_->squares.end()) squares.emplace(weight, it->second);
  }
  return squares;
}

}  // namespace dunlin
