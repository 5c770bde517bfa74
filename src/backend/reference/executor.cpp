// Executes a step: page moves first, then the nodes in order; a value is freed after its last
// reader.
#include "backend/reference/executor.h"

#include <fmt/format.h>

#include <algorithm>
#include <new>
#include <set>
#include <stdexcept>

#include "backend/reference/node_run.h"
#include "base/checked.h"
#include "base/thread_pool.h"

namespace dunlin::reference {
namespace {

// For each node the values it is the last to read; outputs are never among them.
std::vector<std::vector<ValueId>> last_readers(const Program& program) {
  std::vector<bool> read_later(program.values.size(), false);
  for (const Output& output : program.outputs) {
    read_later[static_cast<size_t>(output.value)] = true;
  }
  std::vector<std::vector<ValueId>> last(program.nodes.size());
  for (size_t i = program.nodes.size(); i-- > 0;) {
    std::vector<ValueId> ends = program.nodes[i].operands;
    ends.insert(ends.end(), program.nodes[i].results.begin(), program.nodes[i].results.end());
    for (const ValueId id : ends) {
      if (read_later[static_cast<size_t>(id)]) continue;
      read_later[static_cast<size_t>(id)] = true;
      last[i].push_back(id);
    }
  }
  return last;
}

uint64_t array_bytes(const Array& array) {
  return static_cast<uint64_t>(array.size() * dtype_bytes(array.dtype()));
}

// Bytes of the pages of one group, or nothing when that is no size.
std::optional<int64_t> group_bytes(const KvGroup& group, int64_t pages, KvType type) {
  auto bytes = checked_mul<int64_t>(pages, int64_t{2} * kPageTokens);
  if (bytes) bytes = checked_mul<int64_t>(*bytes, group.kv_heads);
  if (bytes) bytes = checked_mul<int64_t>(*bytes, kv_head_bytes(type, group.head_dim));
  if (bytes) bytes = checked_mul<int64_t>(*bytes, group.layers);
  return bytes;
}

}  // namespace

ReferenceExecutable::ReferenceExecutable(Program program, std::vector<PreparedWeight> weights,
                                         KvType kv_type)
    : program_(std::move(program)),
      weights_(std::move(weights)),
      kv_type_(kv_type),
      last_read_(last_readers(program_)),
      values_(program_.values.size()) {}

Result<std::unique_ptr<KvState>> ReferenceExecutable::make_kv_state(
    const std::vector<int64_t>& pages_per_group) {
  if (pages_per_group.size() != program_.kv_groups.size()) {
    return runtime_error(fmt::format("KV state: page counts for {} groups, but the model has {}",
                                     pages_per_group.size(), program_.kv_groups.size()));
  }
  const Error too_large{ErrorKind::does_not_fit, "KV state: the pages do not fit into memory"};
  for (size_t i = 0; i < pages_per_group.size(); ++i) {
    if (pages_per_group[i] < 0) {
      return runtime_error(fmt::format("KV state: {} pages in group {}", pages_per_group[i], i));
    }
    if (!group_bytes(program_.kv_groups[i], pages_per_group[i], kv_type_)) return too_large;
  }
  try {
    return std::unique_ptr<KvState>(
        std::make_unique<ReferenceKvState>(program_.kv_groups, pages_per_group, kv_type_));
  } catch (const std::bad_alloc&) {
    return too_large;
  } catch (const std::length_error&) {
    return too_large;
  }
}

const Array& ReferenceExecutable::array(ValueId id) const {
  const Value& value = program_.values[static_cast<size_t>(id)];
  if (value.kind == Value::Kind::weight) return weights_[static_cast<size_t>(value.weight)].decoded;
  return values_[static_cast<size_t>(id)];
}

void ReferenceExecutable::read_inputs(const StepContext& step) {
  for (size_t i = 0; i < values_.size(); ++i) {
    const Value& value = program_.values[i];
    values_[i] = value.kind == Value::Kind::input ? step.input(value.input) : Array();
  }
}

void ReferenceExecutable::run_node(size_t index, const StepContext& step) {
  const Node& node = program_.nodes[index];
  NodeRun run{program_, node, step, {}, {}, {}};
  for (const ValueId id : node.operands) {
    const Value& value = program_.values[static_cast<size_t>(id)];
    const bool is_weight = value.kind == Value::Kind::weight;
    run.operands.push_back(&array(id));
    run.weights.push_back(is_weight ? &weights_[static_cast<size_t>(value.weight)] : nullptr);
  }
  for (const ValueId id : node.results) {
    const ValueType& type = program_.type(id);
    run.results.emplace_back(type.dtype, step.shape(type.dims));
  }
  if (is_basic(node.op)) {
    run_basic(run);
  } else {
    run_semantic(run);
  }
  if (node.op == Op::attention)
    peak_attention_bytes_ = std::max(peak_attention_bytes_, gathered_bytes(run));
  for (size_t i = 0; i < node.results.size(); ++i) {
    held_bytes_ += array_bytes(run.results[i]);
    values_[static_cast<size_t>(node.results[i])] = std::move(run.results[i]);
  }
  peak_bytes_ = std::max(peak_bytes_, held_bytes_);
}

void ReferenceExecutable::free_after(size_t index) {
  for (const ValueId id : last_read_[index]) {
    if (program_.values[static_cast<size_t>(id)].kind != Value::Kind::node) continue;
    held_bytes_ -= array_bytes(values_[static_cast<size_t>(id)]);
    values_[static_cast<size_t>(id)] = Array();
  }
}

void ReferenceExecutable::run(const StepPlan& plan, KvState& state, StepOutput& output) noexcept {
  const FlushToZero flush_to_zero;
  auto* own_state = dynamic_cast<ReferenceKvState*>(&state);
  DUNLIN_CHECK(own_state != nullptr, "a KV state of another back end");
  const StepContext step(plan, *own_state, kv_type_);
  held_bytes_ = 0;
  read_inputs(step);
  for (const PageMove& move : plan.moves) own_state->copy_page(move);
  for (size_t i = 0; i < program_.nodes.size(); ++i) {
    run_node(i, step);
    free_after(i);
  }
  fill_logits(output);
  fill_taps(output);
}

void ReferenceExecutable::fill_logits(StepOutput& output) const {
  output.logits.clear();
  const Output* logits = program_.find_output(kLogitsOutput);
  if (logits == nullptr) return;
  const Output* statistics = program_.find_output(kStatisticsOutput);
  const Output* ids = program_.find_output(kCandidateIdsOutput);
  const Output* candidates = program_.find_output(kCandidateLogitsOutput);
  const Array& rows = array(logits->value);
  const auto row_of = [](const auto* elements, const Array& x, int64_t r) {
    return std::span(elements + r * x.last_dim(), static_cast<size_t>(x.last_dim()));
  };
  for (int64_t r = 0; r < rows.dim(0); ++r) {
    LogitsView view;
    view.row = row_of(rows.f32(), rows, r);
    if (statistics != nullptr) {
      const float* values = array(statistics->value).f32() + r * 5;
      view.lse = values[0];
      view.entropy = values[2];
      view.varentropy = values[3];
      view.finite = values[4] != 0.0f;
    }
    if (ids != nullptr) view.ids = row_of(array(ids->value).i32(), array(ids->value), r);
    if (candidates != nullptr) {
      view.logits = row_of(array(candidates->value).f32(), array(candidates->value), r);
    }
    output.logits.push_back(view);
  }
}

void ReferenceExecutable::fill_taps(StepOutput& output) const {
  output.taps.clear();
  for (const Output& tap : program_.outputs) {
    if (!tap.is_of_logits()) output.taps.push_back({tap.name, array(tap.value).view()});
  }
}

std::vector<std::pair<std::string, std::string>> ReferenceExecutable::kernels() const {
  std::set<Op> used;
  for (const Node& node : program_.nodes) used.insert(node.op);
  std::vector<std::pair<std::string, std::string>> names;
  for (const Op op : used) names.emplace_back(op_name(op), std::string(op_name(op)) + "_reference");
  return names;
}

uint64_t ReferenceExecutable::weights_bytes() const {
  uint64_t total = 0;
  for (const PreparedWeight& weight : weights_) total += weight.bytes();
  return total;
}

}  // namespace dunlin::reference
