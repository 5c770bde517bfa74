// Lifetimes in steps, then offsets: the largest buffer first, each at the lowest offset where no
// buffer that lives at the same time lies.
#include "backend/cpu/memory_plan.h"

#include <algorithm>
#include <limits>
#include <numeric>
#include <utility>

#include "backend/cpu/arena.h"
#include "backend/cpu/select.h"

namespace dunlin::cpu {

namespace {

constexpr int32_t kUnused = -1;

struct Buffer {
  int64_t bytes = 0;
  int32_t first = std::numeric_limits<int32_t>::max();  // steps that write or read it
  int32_t last = -1;
  int64_t offset = -1;

  bool used() const { return last >= first; }
  bool meets(const Buffer& other) const { return first <= other.last && other.first <= last; }
};

class Planner {
 public:
  Planner(const Program& program, const std::vector<FusedStep>& steps, const StepLimits& limits,
          bool reuse)
      : program_(program),
        steps_(steps),
        reuse_(reuse),
        sizes_(largest_sizes(limits)),
        root_(program.values.size()),
        offset_in_root_(program.values.size(), 0),
        buffer_of_(program.values.size()),
        buffers_(program.values.size()) {}

  MemoryPlan run() {
    std::iota(root_.begin(), root_.end(), 0);
    std::iota(buffer_of_.begin(), buffer_of_.end(), 0);
    resolve_views();
    find_lifetimes();
    if (reuse_) {
      share_in_place();
    } else {
      live_throughout();
    }
    assign_offsets();
    return result();
  }

 private:
  size_t root(ValueId id) const { return static_cast<size_t>(root_[static_cast<size_t>(id)]); }
  int64_t bytes_of(ValueId id) const {
    const ValueType& type = program_.type(id);
    return element_count(type.dims, sizes_) * dtype_bytes(type.dtype);
  }

  void resolve_views() {
    for (const Node& node : program_.nodes) {
      if (select_runner(program_, node) != Runner::view) continue;
      const auto result = static_cast<size_t>(node.results[0]);
      const auto operand = static_cast<size_t>(node.operands[0]);
      root_[result] = root_[operand];
      offset_in_root_[result] = offset_in_root_[operand] + view_offset(program_, node);
    }
  }

  void use(ValueId id, int32_t step) {
    if (is_weight(program_, id)) return;
    Buffer& buffer = buffers_[root(id)];
    buffer.first = std::min(buffer.first, step);
    buffer.last = std::max(buffer.last, step);
  }

  // The sum of a linear that ends in an addition is never stored, nor the norm of a linear's input. The
  // rows of an embedding that it norms are.
  static bool stores(const FusedStep& step, int32_t number) {
    if (number == step.norm) return false;
    return std::ranges::none_of(step.linears, [number](const LinearPart& part) {
      return part.linear == number && part.residual_add != kNoNode;
    });
  }

  std::vector<ValueId> values_of(const FusedStep& step) const {
    std::vector<ValueId> skipped;
    std::vector<ValueId> values;
    for (const int32_t number : step.nodes()) {
      const Node& node = program_.nodes[static_cast<size_t>(number)];
      values.insert(values.end(), node.operands.begin(), node.operands.end());
      std::vector<ValueId>& into = stores(step, number) ? values : skipped;
      into.insert(into.end(), node.results.begin(), node.results.end());
    }
    std::erase_if(values,
                  [&](ValueId id) { return std::ranges::find(skipped, id) != skipped.end(); });
    return values;
  }

  void find_lifetimes() {
    const auto count = static_cast<int32_t>(steps_.size());
    for (int32_t i = 0; i < count; ++i) {
      for (const ValueId id : values_of(steps_[static_cast<size_t>(i)])) use(id, i);
    }
    for (const Output& output : program_.outputs) {
      use(output.value, count);
      pin(output.value);
    }
    for (size_t i = 0; i < program_.values.size(); ++i) {
      const auto id = static_cast<ValueId>(i);
      if (program_.values[i].kind == Value::Kind::input) {
        use(id, kUnused);  // before the first step
        use(id, count);
        pin(id);
      }
      if (root(id) == i) buffers_[i].bytes = round_up(bytes_of(id), kCacheLine);
    }
  }

  void live_throughout() {
    for (Buffer& buffer : buffers_) {
      if (buffer.used()) buffer = {buffer.bytes, kUnused, static_cast<int32_t>(steps_.size())};
    }
  }

  void pin(ValueId id) {
    if (!is_weight(program_, id)) pinned_.push_back(static_cast<ValueId>(root(id)));
  }

  // A result takes the memory of an operand of the same size that ends here and that nothing else
  // in the step reads.
  void share(const FusedStep& step, int32_t number, int32_t node, size_t operand) {
    const Node& n = program_.nodes[static_cast<size_t>(node)];
    const ValueId from = n.operands[operand];
    const ValueId to = n.results[0];
    if (is_weight(program_, from) || bytes_of(from) != bytes_of(to)) return;
    if (bytes_of(static_cast<ValueId>(root(from))) != bytes_of(from)) return;
    if (std::ranges::find(pinned_, static_cast<ValueId>(root(from))) != pinned_.end()) return;
    if (buffers_[root(from)].last != number || readers_in(step, root(from)) != 1) return;
    buffer_of_[root(to)] = static_cast<ValueId>(root(from));
  }

  int64_t readers_in(const FusedStep& step, size_t value) const {
    int64_t readers = 0;
    for (const int32_t number : step.nodes()) {
      const Node& node = program_.nodes[static_cast<size_t>(number)];
      readers +=
          std::ranges::count_if(node.operands, [&](ValueId id) { return root(id) == value; });
    }
    return readers;
  }

  void share_in_place() {
    for (size_t i = 0; i < steps_.size(); ++i) {
      const FusedStep& step = steps_[i];
      const auto number = static_cast<int32_t>(i);
      for (const LinearPart& part : step.linears) {
        if (part.residual_add != kNoNode) share_residual(step, number, part);
      }
      if (step.gated != kNoNode) share(step, number, step.gated, 0);
      if (step.rope_q != kNoNode) share(step, number, step.rope_q, 0);
      if (step.rope_k != kNoNode) share(step, number, step.rope_k, 0);
      if (step.linears.empty() && runs_in_place(step)) share(step, number, step.node, 0);
    }
  }

  void share_residual(const FusedStep& step, int32_t number, const LinearPart& part) {
    const Node& add = program_.nodes[static_cast<size_t>(part.residual_add)];
    const ValueId sum = program_.nodes[static_cast<size_t>(part.linear)].results[0];
    share(step, number, part.residual_add, add.operands[0] == sum ? 1 : 0);
  }

  bool runs_in_place(const FusedStep& step) const {
    const Node& node = program_.nodes[static_cast<size_t>(step.node)];
    if (select_runner(program_, node) != Runner::kernel) return false;
    switch (node.op) {
      case Op::add:
      case Op::mul:
      case Op::gated:
      case Op::rms_norm:
      case Op::rope:
      case Op::attention:
        return true;
      default:
        return false;
    }
  }

  size_t buffer(size_t value) const {
    while (buffer_of_[value] != static_cast<ValueId>(value)) {
      value = static_cast<size_t>(buffer_of_[value]);
    }
    return value;
  }

  void assign_offsets() {
    std::vector<size_t> order;
    for (size_t i = 0; i < buffers_.size(); ++i) {
      if (!buffers_[i].used()) continue;
      Buffer& whole = buffers_[buffer(i)];
      whole.first = std::min(whole.first, buffers_[i].first);
      whole.last = std::max(whole.last, buffers_[i].last);
      if (buffer(i) == i) order.push_back(i);
    }
    std::ranges::sort(order, [&](size_t a, size_t b) {
      return std::pair(-buffers_[a].bytes, a) < std::pair(-buffers_[b].bytes, b);
    });
    std::vector<const Buffer*> placed;  // by offset
    for (const size_t i : order) {
      place(buffers_[i], placed);
      const auto after = std::ranges::upper_bound(placed, buffers_[i].offset, {}, &Buffer::offset);
      placed.insert(after, &buffers_[i]);
      total_ = std::max(total_, buffers_[i].offset + buffers_[i].bytes);
    }
  }

  static void place(Buffer& buffer, const std::vector<const Buffer*>& placed) {
    buffer.offset = 0;
    for (const Buffer* other : placed) {
      if (!other->meets(buffer)) continue;
      if (other->offset >= buffer.offset + buffer.bytes) break;
      buffer.offset = std::max(buffer.offset, other->offset + other->bytes);
    }
  }

  MemoryPlan result() const {
    MemoryPlan plan;
    plan.bytes = total_;
    for (size_t i = 0; i < program_.values.size(); ++i) {
      const int64_t start = buffers_[buffer(root(static_cast<ValueId>(i)))].offset;
      plan.offsets.push_back(start < 0 ? -1 : start + offset_in_root_[i]);
    }
    return plan;
  }

  const Program& program_;
  const std::vector<FusedStep>& steps_;
  bool reuse_;
  SymbolSizes sizes_;
  std::vector<ValueId> root_;            // by value: what it is a view of, or itself
  std::vector<int64_t> offset_in_root_;  // bytes
  std::vector<ValueId> buffer_of_;       // by root: whose memory it takes over, or itself
  std::vector<Buffer> buffers_;          // by root
  std::vector<ValueId> pinned_;          // roots of inputs and outputs
  int64_t total_ = 0;
};

}  // namespace

SymbolSizes largest_sizes(const StepLimits& limits) {
  return {.rows = limits.rows,
          .logit_rows = limits.logit_rows,
          .sequences = limits.sequences,
          .slots = limits.context};
}

int64_t element_count(const Dims& dims, const SymbolSizes& sizes) {
  int64_t count = 1;
  for (const Dim& dim : dims) count *= sizes.of(dim);
  return count;
}

MemoryPlan plan_memory(const Program& program, const std::vector<FusedStep>& steps,
                       const StepLimits& limits, bool reuse) {
  return Planner(program, steps, limits, reuse).run();
}

}  // namespace dunlin::cpu
