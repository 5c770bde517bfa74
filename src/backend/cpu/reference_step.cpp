// Copies operands into Arrays, runs the node, copies the results back.
#include "backend/cpu/reference_step.h"

#include <fmt/format.h>

#include <cstring>

#include "backend/cpu/select.h"
#include "program/location.h"

namespace dunlin::cpu {

namespace {

class ReferenceStep final : public BoundStep {
 public:
  ReferenceStep(const Binding& binding, const Node& node, ReferenceRunner& runner)
      : binding_(binding), node_(node), runner_(runner) {}

  void run(const RunContext& /*context*/) noexcept override { runner_.run(binding_, node_); }
  std::vector<std::pair<std::string, std::string>> kernels() const override {
    const std::string name = op_name(node_.op);
    return {{name, name + "_reference"}};
  }

 private:
  const Binding& binding_;
  const Node& node_;
  ReferenceRunner& runner_;
};

// The weights of linear and experts are prepared for their arithmetic, so they must be weights.
Result<void> check_operands(const Program& program, const Node& node) {
  for (size_t i = 0; i < node.operands.size(); ++i) {
    if (!reference::is_linear_operand(node, i) || is_weight(program, node.operands[i])) continue;
    return model_error(fmt::format("{}: {} ({}): operand {} is not a weight of the model",
                                   location_text(node.where), node.name, op_name(node.op), i));
  }
  return {};
}

}  // namespace

// The Program that prepare_weights() sees: these nodes and their weights alone.
Result<Program> ReferenceRunner::select_nodes(const Program& program,
                                              const std::vector<FusedStep>& steps) {
  Program alone;
  alone.values = program.values;
  prepared_id_.assign(program.weights.size(), -1);
  const std::vector<bool> kept = kept_weights(program);
  for (const FusedStep& step : steps) {
    const Node& node = program.nodes[static_cast<size_t>(step.node)];
    if (select_runner(program, node) != Runner::reference) continue;
    DUNLIN_RETURN_IF_ERROR(check_operands(program, node));
    alone.nodes.push_back(node);
    for (const ValueId id : node.operands) {
      if (!is_weight(program, id)) continue;
      Value& value = alone.values[static_cast<size_t>(id)];
      const auto weight = static_cast<size_t>(program.values[static_cast<size_t>(id)].weight);
      WeightId& prepared = prepared_id_[weight];
      if (prepared < 0) {
        prepared = static_cast<WeightId>(alone.weights.size());
        alone.weights.push_back(program.weights[weight]);
        kept_.push_back(kept[weight]);
      }
      value.weight = prepared;
    }
  }
  return alone;
}

Result<std::unique_ptr<ReferenceRunner>> ReferenceRunner::create(
    const Program& program, const std::vector<FusedStep>& steps, const WeightSource& source,
    const CompileOptions& options) {
  auto runner = std::make_unique<ReferenceRunner>();
  DUNLIN_ASSIGN_OR_RETURN(const Program alone, runner->select_nodes(program, steps));
  if (alone.nodes.empty()) return std::unique_ptr<ReferenceRunner>();
  DUNLIN_ASSIGN_OR_RETURN(runner->kv_type_, kv_type_of(options.precision, options.kv_type));
  runner->no_state_ = std::make_unique<reference::ReferenceKvState>(
      std::vector<KvGroup>{}, std::vector<int64_t>{}, runner->kv_type_);
  DUNLIN_ASSIGN_OR_RETURN(runner->prepared_,
                          reference::prepare_weights(alone, source, options, runner->kept_));
  return runner;
}

Result<std::vector<uint64_t>> ReferenceRunner::footprint(const Program& program,
                                                         const std::vector<FusedStep>& steps,
                                                         const WeightSource& source,
                                                         const CompileOptions& options) {
  ReferenceRunner runner;
  DUNLIN_ASSIGN_OR_RETURN(const Program alone, runner.select_nodes(program, steps));
  DUNLIN_ASSIGN_OR_RETURN(const std::vector<uint64_t> prepared,
                          reference::prepared_bytes(alone, source, options, runner.kept_));
  std::vector<uint64_t> bytes(program.weights.size(), 0);
  for (size_t i = 0; i < bytes.size(); ++i) {
    const WeightId id = runner.prepared_id_[i];
    if (id >= 0) bytes[i] = prepared[static_cast<size_t>(id)];
  }
  return bytes;
}

void ReferenceRunner::begin_step(const StepPlan& plan) {
  step_.emplace(plan, *no_state_, kv_type_);
}

const reference::PreparedWeight* ReferenceRunner::weight(const Program& program, ValueId id) const {
  if (!is_weight(program, id)) return nullptr;
  const auto weight = static_cast<size_t>(program.values[static_cast<size_t>(id)].weight);
  return &prepared_[static_cast<size_t>(prepared_id_[weight])];
}

void ReferenceRunner::run(const Binding& binding, const Node& node) noexcept {
  const Program& program = binding.program;
  reference::NodeRun run{program, node, *step_, {}, {}, {}};
  std::vector<reference::Array> copies;
  copies.reserve(node.operands.size());
  for (const ValueId id : node.operands) {
    const reference::PreparedWeight* prepared = weight(program, id);
    run.weights.push_back(prepared);
    if (prepared != nullptr) {
      run.operands.push_back(&prepared->decoded);
      continue;
    }
    const ValueType& type = program.type(id);
    reference::Array& copy = copies.emplace_back(type.dtype, step_->shape(type.dims));
    const auto bytes = static_cast<size_t>(copy.size() * dtype_bytes(type.dtype));
    if (bytes > 0) std::memcpy(copy.bytes(), binding.addresses[static_cast<size_t>(id)], bytes);
    run.operands.push_back(&copy);
  }
  for (const ValueId id : node.results) {
    const ValueType& type = program.type(id);
    run.results.emplace_back(type.dtype, step_->shape(type.dims));
  }
  if (is_basic(node.op)) {
    reference::run_basic(run);
  } else {
    reference::run_semantic(run);
  }
  for (size_t i = 0; i < node.results.size(); ++i) {
    const reference::Array& result = run.results[i];
    const auto bytes = static_cast<size_t>(result.size() * dtype_bytes(result.dtype()));
    std::byte* to = binding.addresses[static_cast<size_t>(node.results[i])];
    if (bytes > 0) std::memcpy(to, result.bytes(), bytes);
  }
}

uint64_t ReferenceRunner::bytes() const {
  uint64_t total = 0;
  for (const reference::PreparedWeight& weight : prepared_) total += weight.bytes();
  return total;
}

std::unique_ptr<BoundStep> bind_reference(const Binding& binding, const Node& node,
                                          ReferenceRunner& runner) {
  return std::make_unique<ReferenceStep>(binding, node, runner);
}

}  // namespace dunlin::cpu
