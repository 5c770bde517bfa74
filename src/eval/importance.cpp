// A watch on the nodes that give `linear` its inputs; of mixtures, on those with the rows and with the
// experts that each row goes to.
#include "eval/importance.h"

#include <fmt/format.h>

#include <set>
#include <span>

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

// `routes` [rows, k] are the experts of each row.
void add_routed(const View& routes, std::span<const float> rows, int64_t experts,
                InputSquares& squares) {
  DUNLIN_CHECK(routes.dtype == DType::i32, "numbers of experts that are not i32");
  const auto count = static_cast<size_t>(routes.shape.front());
  const auto each = static_cast<size_t>(routes.shape.back());
  const size_t columns = rows.size() / count;
  squares.sums.resize(static_cast<size_t>(experts) * columns);
  squares.rows.resize(static_cast<size_t>(experts));
  for (size_t i = 0; i < count * each; ++i) {
    const auto expert = static_cast<size_t>(routes.i32()[i]);
    ++squares.rows[expert];
    add_squares(rows.data() + i / each * columns, columns, squares.sums.data() + expert * columns);
  }
}

}  // namespace

struct ImportanceMeasurement::Measured {
  std::set<std::string> linear;                    // values that are inputs of `linear`
  std::map<std::string, Mixture> mixtures;         // by the value with the experts of each row
  std::set<std::string> routed;                    // the rows of mixtures
  std::map<std::string, std::vector<float>> rows;  // of this step, until their experts are known
  std::map<std::string, InputSquares> squares;     // by value of `linear` and `mixtures`

  void add(const std::string& name, const View& view) {
    if (linear.contains(name)) add_rows(view, squares[name]);
    if (routed.contains(name)) {
      DUNLIN_CHECK(view.dtype == DType::f32, "inputs of experts that are not f32");
      rows[name].assign(view.f32(), view.f32() + element_count(view.shape));
    }
    const auto mixture = mixtures.find(name);
    if (mixture == mixtures.end()) return;
    const auto inputs = rows.find(mixture->second.rows);
    DUNLIN_CHECK(inputs != rows.end(), "experts of rows that were not seen");
    add_routed(view, inputs->second, mixture->second.experts, squares[name]);
    rows.erase(inputs);
  }
};

Result<ImportanceMeasurement> ImportanceMeasurement::prepare(const std::string& path) {
  DUNLIN_ASSIGN_OR_RETURN(const auto checkpoint, open_checkpoint(path));
  DUNLIN_ASSIGN_OR_RETURN(const Program program, record_model(checkpoint->config(), {}));
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
  }
  measurement.watch_ = Watch::create(
      {.patterns = {nodes.begin(), nodes.end()},
       .on_value = [values = measurement.measured_](const WatchedValue& value, const View& view) {
         values->add(value.name, view);
       }});
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
