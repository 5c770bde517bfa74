// A watch on the nodes that give `linear` its inputs.
#include "eval/importance.h"

#include <set>

#include "base/check.h"
#include "checkpoint/checkpoint.h"
#include "models/registry.h"

namespace dunlin {
namespace {

// The node whose result each matrix is multiplied with, by the weight's name.
std::map<std::string, std::string> nodes_of_inputs(const Program& program) {
  std::map<std::string, std::string> nodes;
  for (const Node& node : program.nodes) {
    if (node.op != Op::linear) continue;
    const Value& input = program.values[static_cast<size_t>(node.operands[0])];
    const Value& weight = program.values[static_cast<size_t>(node.operands[1])];
    if (input.kind != Value::Kind::node || weight.kind != Value::Kind::weight) continue;
    nodes.emplace(program.weights[static_cast<size_t>(weight.weight)].name,
                  program.nodes[static_cast<size_t>(input.node)].name);
  }
  return nodes;
}

void add_rows(const View& rows, InputSquares& squares) {
  DUNLIN_CHECK(rows.dtype == DType::f32, "inputs of a matrix that are not f32");
  const auto columns = static_cast<size_t>(rows.shape.back());
  const int64_t count = element_count(rows.shape) / rows.shape.back();
  squares.sums.resize(columns);
  squares.rows += count;
  const float* row = rows.f32();
  for (int64_t i = 0; i < count; ++i, row += columns) {
    for (size_t k = 0; k < columns; ++k) {
      const auto x = static_cast<double>(row[k]);
      squares.sums[k] += x * x;
    }
  }
}

}  // namespace

struct ImportanceMeasurement::Measured {
  std::map<std::string, InputSquares> by_node;
};

Result<ImportanceMeasurement> ImportanceMeasurement::prepare(const std::string& path) {
  DUNLIN_ASSIGN_OR_RETURN(const auto checkpoint, open_checkpoint(path));
  DUNLIN_ASSIGN_OR_RETURN(const Program program, record_model(checkpoint->config(), {}));
  ImportanceMeasurement measurement;
  measurement.node_of_weight_ = nodes_of_inputs(program);
  measurement.measured_ = std::make_shared<Measured>();
  std::set<std::string> nodes;
  for (const auto& [weight, node] : measurement.node_of_weight_) nodes.insert(node);
  measurement.watch_ = Watch::create(
      {.patterns = {nodes.begin(), nodes.end()},
       .on_value = [measured = measurement.measured_](const WatchedValue& value, const View& view) {
         add_rows(view, measured->by_node[value.name]);
       }});
  return measurement;
}

std::map<std::string, InputSquares> ImportanceMeasurement::squares() const {
  std::map<std::string, InputSquares> squares;
  for (const auto& [weight, node] : node_of_weight_) {
    const auto it = measured_->by_node.find(node);
    if (it != measured_->by_node.end()) squares.emplace(weight, it->second);
  }
  return squares;
}

}  // namespace dunlin
