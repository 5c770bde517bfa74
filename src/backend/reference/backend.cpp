// compile() of the reference back end: checks what run() relies on, then reads the weights.
#include <fmt/format.h>

#include <new>
#include <stdexcept>

#include "backend/reference/executor.h"
#include "backend/reference/reference.h"
#include "base/thread_pool.h"

namespace dunlin::reference {
namespace {

Error node_error(const Node& node, const std::string& problem) {
  return model_error(fmt::format("{} ({}): {}", node.name, op_name(node.op), problem));
}

// The place of a node's keys and values in the state, and their heads and width.
struct StatePlace {
  StateAttributes at;
  int64_t kv_heads;
  int64_t head_dim;
};

std::optional<StatePlace> state_place(const Program& program, const Node& node) {
  const auto* attention = std::get_if<AttentionAttributes>(&node.attributes);
  const bool reads_state = node.op == Op::state_read;
  if (attention != nullptr && !attention->stateful) return std::nullopt;
  if (attention == nullptr && !reads_state && node.op != Op::state_write) return std::nullopt;
  // k is operand 1 of attention [T,K,h], operand 0 of state_write, and result 0 of state_read
  // [S,C,K,h].
  const ValueId k = reads_state ? node.results[0] : node.operands[attention != nullptr ? 1 : 0];
  const Dims& dims = program.type(k).dims;
  const StateAttributes at = attention != nullptr
                                 ? StateAttributes{attention->group, attention->layer}
                                 : std::get<StateAttributes>(node.attributes);
  return StatePlace{at, dims[dims.size() - 2].size, dims[dims.size() - 1].size};
}

Result<void> check_state(const Program& program, const Node& node) {
  const std::optional<StatePlace> place = state_place(program, node);
  if (!place) return {};
  if (place->at.group < 0 || std::cmp_greater_equal(place->at.group, program.kv_groups.size())) {
    return node_error(node, fmt::format("KV group {} does not exist", place->at.group));
  }
  const KvGroup& group = program.kv_groups[static_cast<size_t>(place->at.group)];
  if (place->at.layer < 0 || place->at.layer >= group.layers) {
    return node_error(node, fmt::format("KV layer {} does not exist", place->at.layer));
  }
  if (place->kv_heads != group.kv_heads || place->head_dim != group.head_dim) {
    return node_error(node,
                      fmt::format("{} heads of {} in a KV group of {} heads of {}", place->kv_heads,
                                  place->head_dim, group.kv_heads, group.head_dim));
  }
  return {};
}

// The weights of linear and experts are prepared for their arithmetic, so they must be weights.
Result<void> check_linear_operands(const Program& program, const Node& node) {
  for (size_t i = 0; i < node.operands.size(); ++i) {
    const Value& value = program.values[static_cast<size_t>(node.operands[i])];
    if (is_linear_operand(node, i) && value.kind != Value::Kind::weight) {
      return node_error(node, fmt::format("operand {} is not a weight of the model", i));
    }
  }
  if (node.op == Op::experts && node.operands.size() != 6 && node.operands.size() != 9) {
    return node_error(node, "has some biases but not all three");
  }
  return {};
}

class ReferenceBackend final : public Backend {
 public:
  const char* name() const override { return "reference"; }

  Result<std::unique_ptr<Executable>> compile(const Program& program, const WeightSource& weights,
                                              const CompileOptions& options) override {
    if (!options.isa.empty() && options.isa != "scalar") {
      return usage_error(
          fmt::format("the reference back end is scalar; it has no {} version", options.isa));
    }
    DUNLIN_RETURN_IF_ERROR(verify(program));
    for (const Node& node : program.nodes) {
      DUNLIN_RETURN_IF_ERROR(check_state(program, node));
      DUNLIN_RETURN_IF_ERROR(check_linear_operands(program, node));
    }
    try {
      const FlushToZero flush_to_zero;
      DUNLIN_ASSIGN_OR_RETURN(std::vector<PreparedWeight> prepared,
                              prepare_weights(program, weights, options));
      return std::unique_ptr<Executable>(
          std::make_unique<ReferenceExecutable>(program, std::move(prepared), options.precision));
    } catch (const std::bad_alloc&) {
      return Error{ErrorKind::does_not_fit, "the decoded weights do not fit into memory"};
    } catch (const std::length_error&) {
      return Error{ErrorKind::does_not_fit, "the decoded weights do not fit into memory"};
    }
  }
};

}  // namespace
}  // namespace dunlin::reference

namespace dunlin {

std::unique_ptr<Backend> make_reference_backend() {
  return std::make_unique<reference::ReferenceBackend>();
}

}  // namespace dunlin
