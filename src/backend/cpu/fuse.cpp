// The table of rewrites and their conditions.
#include "backend/cpu/fuse.h"

#include <algorithm>
#include <utility>

#include "backend/cpu/select.h"

namespace dunlin::cpu {

namespace {

// The linear that ends in operand `which` of an addition, if it may end in the addition itself.
FusedStep* linear_before_add(Fusion& fusion, const Node& add, size_t which) {
  const ValueId sum = add.operands[which];
  const ValueId residual = add.operands[1 - which];
  if (!fusion.read_once(sum)) return nullptr;
  if (fusion.program().type(residual) != fusion.program().type(sum)) return nullptr;
  FusedStep* linear = fusion.step_of(sum, Op::linear);
  return linear != nullptr && linear->linears.front().residual_add == kNoNode ? linear : nullptr;
}

// The linear moves to the place of the addition, where the residual is there.
void residual_add(Fusion& fusion, const char* name) {
  for (FusedStep& step : fusion.steps()) {
    if (step.node == kNoNode || fusion.node(step.node).op != Op::add) continue;
    const Node& add = fusion.node(step.node);
    FusedStep* linear = linear_before_add(fusion, add, 1);
    if (linear == nullptr) linear = linear_before_add(fusion, add, 0);
    if (linear == nullptr) continue;
    FusedStep fused = *linear;
    fused.linears.front().residual_add = step.node;
    fused.absorbed.push_back({name, step.node});
    fusion.remove(*linear);
    step = std::move(fused);
  }
}

// A linear that can run as soon as its x is there.
bool depends_on_x_alone(const Fusion& fusion, const FusedStep& step) {
  if (step.linears.size() != 1 || step.linears.front().residual_add != kNoNode) return false;
  const Node& linear = fusion.node(step.node);
  return std::all_of(linear.operands.begin() + 1, linear.operands.end(),
                     [&](ValueId id) { return is_weight(fusion.program(), id); });
}

// Later linears join the first that reads the same x.
void shared_input(Fusion& fusion, const char* name) {
  std::vector<FusedStep*> first_of(fusion.program().values.size(), nullptr);  // by x
  for (FusedStep& step : fusion.steps()) {
    if (step.node == kNoNode || !depends_on_x_alone(fusion, step)) continue;
    FusedStep*& first = first_of[static_cast<size_t>(fusion.node(step.node).operands[0])];
    if (first == nullptr) {
      first = &step;
      continue;
    }
    first->absorbed.push_back({name, step.node});
    first->linears.push_back(step.linears.front());
    fusion.remove(step);
  }
}

void gated_linears(Fusion& fusion, const char* name) {
  for (FusedStep& step : fusion.steps()) {
    if (step.node == kNoNode || fusion.node(step.node).op != Op::gated) continue;
    const ValueId gate = fusion.node(step.node).operands[0];
    const ValueId up = fusion.node(step.node).operands[1];
    if (gate == up || !fusion.read_once(gate) || !fusion.read_once(up)) continue;
    FusedStep* linears = fusion.step_of(gate, Op::linear);
    const bool both = linears != nullptr && linears == fusion.step_of(up, Op::linear) &&
                      linears->linears.size() == 2;
    if (!both) continue;
    linears->linears = {{fusion.producer_of(gate), kNoNode}, {fusion.producer_of(up), kNoNode}};
    linears->gated = step.node;
    linears->absorbed.push_back({name, step.node});
    fusion.remove(step);
  }
}

// After what joins linears: the step's, which all read x, must be the only ones that do.
void input_norm(Fusion& fusion, const char* name) {
  for (FusedStep& step : fusion.steps()) {
    if (step.node == kNoNode || step.linears.empty()) continue;
    const ValueId x = fusion.node(step.node).operands[0];
    FusedStep* norm = fusion.step_of(x, Op::rms_norm);
    if (norm == nullptr || !fusion.read_times(x, step.linears.size())) continue;
    step.norm = norm->node;
    step.absorbed.push_back({name, norm->node});
    fusion.remove(*norm);
  }
}

// What a value is a view of; itself where it is none.
ValueId viewed(const Program& program, ValueId id) {
  const Node* node = producer(program, id);
  while (node != nullptr && select_runner(program, *node) == Runner::view) {
    id = node->operands[0];
    node = producer(program, id);
  }
  return id;
}

// The value, or a view of it.
bool reads(const Fusion& fusion, const FusedStep& step, ValueId value) {
  return std::ranges::any_of(step.nodes(), [&](int32_t number) {
    return std::ranges::any_of(fusion.node(number).operands,
                               [&](ValueId id) { return viewed(fusion.program(), id) == value; });
  });
}

// After all that moves steps to an earlier place. The rows are written where the linears are: none of the
// steps before may read them.
void embed_norm(Fusion& fusion, const char* name) {
  for (FusedStep& step : fusion.steps()) {
    if (step.node == kNoNode || step.norm == kNoNode) continue;
    const ValueId x = fusion.node(step.norm).operands[0];
    FusedStep* embed = fusion.step_of(x, Op::embed);
    if (embed == nullptr) continue;
    const std::span before(fusion.steps().data(), &step);
    const bool read_before = std::ranges::any_of(before, [&](const FusedStep& other) {
      return other.node != kNoNode && reads(fusion, other, x);
    });
    if (read_before) continue;
    step.embed = embed->node;
    step.absorbed.push_back({name, embed->node});
    fusion.remove(*embed);
  }
}

void rope_attention(Fusion& fusion, const char* name) {
  for (FusedStep& step : fusion.steps()) {
    if (step.node == kNoNode || fusion.node(step.node).op != Op::attention) continue;
    if (select_runner(fusion.program(), fusion.node(step.node)) != Runner::kernel) continue;
    for (const size_t operand : {size_t{0}, size_t{1}}) {
      const ValueId rotated = fusion.node(step.node).operands[operand];
      FusedStep* rope = fusion.step_of(rotated, Op::rope);
      if (rope == nullptr || !fusion.read_once(rotated)) continue;
      (operand == 0 ? step.rope_q : step.rope_k) = rope->node;
      step.absorbed.push_back({name, rope->node});
      fusion.remove(*rope);
    }
  }
}

std::vector<Rewrite>& all_rewrites() {
  static std::vector<Rewrite> all = {
      {"residual_add", "the residual is added where a linear stores its result", residual_add},
      {"shared_input", "linears of one input prepare it once and share a parallel region",
       shared_input},
      {"gated_linears",
       "the activation follows its gate and up projections at once (needs shared_input)",
       gated_linears},
      {"input_norm", "linears norm their input while they prepare it", input_norm},
      {"embed_norm", "linears gather the rows of the embedding that they norm (needs input_norm)",
       embed_norm},
      {"rope_attention", "attention rotates q and k itself", rope_attention},
  };
  return all;
}

}  // namespace

ScopedRewrite::ScopedRewrite(const Rewrite& rewrite) {
  all_rewrites().push_back(rewrite);
}

ScopedRewrite::~ScopedRewrite() {
  all_rewrites().pop_back();
}

std::vector<int32_t> FusedStep::nodes() const {
  std::vector<int32_t> numbers;
  for (const LinearPart& part : linears) {
    numbers.push_back(part.linear);
    numbers.push_back(part.residual_add);
  }
  numbers.insert(numbers.end(), {norm, embed, gated, rope_q, rope_k});
  if (linears.empty()) numbers.push_back(node);
  std::erase(numbers, kNoNode);
  std::ranges::sort(numbers);
  return numbers;
}

std::vector<const char*> FusedStep::rewrites() const {
  std::vector<const char*> names;
  for (const AbsorbedNode& each : absorbed) {
    if (std::ranges::find(names, each.rewrite) == names.end()) names.push_back(each.rewrite);
  }
  return names;
}

Fusion::Fusion(const Program& program) : program_(program), reads_(program.values.size(), 0) {
  for (const Node& node : program.nodes) {
    for (const ValueId id : node.operands) ++reads_[static_cast<size_t>(id)];
  }
  for (const Output& output : program.outputs) reads_[static_cast<size_t>(output.value)] += 2;
  steps_.resize(program.nodes.size());
  for (size_t i = 0; i < steps_.size(); ++i) {
    const Runner runner = select_runner(program, program.nodes[i]);
    if (runner == Runner::view) continue;
    const auto number = static_cast<int32_t>(i);
    steps_[i].node = number;
    if (program.nodes[i].op == Op::linear && runner == Runner::kernel) {
      steps_[i].linears.push_back({number, kNoNode});
    }
  }
}

FusedStep* Fusion::step_of(ValueId id, Op op) {
  const Node* node = producer(program_, id);
  if (node == nullptr || node->op != op) return nullptr;
  if (select_runner(program_, *node) != Runner::kernel) return nullptr;
  const int32_t number = producer_of(id);
  for (FusedStep& step : steps_) {
    if (step.node == number) return &step;
    const auto is_node = [number](const LinearPart& part) { return part.linear == number; };
    if (step.node != kNoNode && std::ranges::any_of(step.linears, is_node)) return &step;
  }
  return nullptr;
}

std::vector<FusedStep> Fusion::finish() && {
  std::erase_if(steps_, [](const FusedStep& step) { return step.node == kNoNode; });
  return std::move(steps_);
}

std::span<const Rewrite> rewrites() {
  return all_rewrites();
}

std::vector<FusedStep> fuse(const Program& program, std::span<const std::string> disabled) {
  Fusion fusion(program);
  for (const Rewrite& rewrite : rewrites()) {
    if (std::ranges::find(disabled, rewrite.name) == disabled.end())
      rewrite.apply(fusion, rewrite.name);
  }
  return std::move(fusion).finish();
}

}  // namespace dunlin::cpu
