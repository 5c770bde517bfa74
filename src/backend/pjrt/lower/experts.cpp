// `experts`: a loop over the experts that some row of the step chose, each read once. Gathering the
// experts of every row, as the definition does, would copy their weights.
#include "backend/pjrt/lower/context.h"
#include "base/check.h"

namespace dunlin::pjrt {
namespace {

Var logistic_product(Builder& b, const Var& x, double factor) {  // x sigmoid(factor x)
  return b.multiply(x, b.unary("logistic", factor == 1.0 ? x : b.times(x, factor)));
}

// x sigmoid(1.5957691 (x + 0.044715 x^3))
Var gelu_tanh(Builder& b, const Var& x) {
  const Var cube = b.multiply(b.multiply(x, x), x);
  const Var z = b.times(b.add(x, b.times(cube, 0.044715)), 1.5957691);
  return b.multiply(x, b.unary("logistic", z));
}

// definitions::gated_product: act(gate) up.
Var gated_product(Builder& b, const Var& gate, const Var& up, const GatedAttributes& attributes) {
  if (attributes.kind == GateKind::silu) return b.multiply(logistic_product(b, gate, 1.0), up);
  if (attributes.kind == GateKind::gelu_tanh) return b.multiply(gelu_tanh(b, gate), up);
  const Var limit = b.filled_like(gate, attributes.limit);
  const Var g = b.minimum(gate, limit);
  const Var u = b.minimum(b.maximum(up, b.unary("negate", limit)), limit);
  return b.multiply(b.plus(u, 1.0), logistic_product(b, g, attributes.alpha));
}

// What the experts of this device are given: its own rows, or those of all devices that share the
// experts with it.
struct Rows {
  Var x;          // [T,D]
  Var chosen;     // i32 [T,k], numbered from this device's first expert
  Var weights;    // f32 [T,k]
  Var sequences;  // i32 [T]: negative for padding
};

Rows own_rows(const NodeLowering& it) {
  return {it.operand(0), it.operand(1), it.operand(2),
          it.context.value_of(InputKind::row_sequences)};
}

// In one exchange beside x: what is chosen, the bits of the weights, and the sequences.
Rows rows_of_all(const NodeLowering& it, int64_t experts, const std::vector<MeshAxis>& axes) {
  Builder& b = it.b;
  const Rows own = own_rows(it);
  const int64_t k = own.chosen.dim(1);
  const Var sequences = b.reshape(own.sequences, {own.sequences.dim(0), 1});
  const Var packed =
      b.concatenate({own.chosen, b.bitcast(own.weights, Element::i32), sequences}, 1);
  const Var all = it.context.gather_over(packed, 0, axes);
  const Var first = b.multiply(it.context.place(axes), b.scalar(experts));
  const Var chosen = b.slice(all, 1, 0, k);
  Rows rows;
  rows.x = it.context.gather_over(own.x, 0, axes);
  rows.chosen = b.subtract(chosen, b.broadcast(first, chosen.type.dims, {}));
  rows.weights = b.bitcast(b.slice(all, 1, k, 2 * k), Element::f32);
  rows.sequences = b.reshape(b.slice(all, 1, 2 * k, 2 * k + 1), {all.dim(0)});
  return rows;
}

struct Choice {
  Var weights;  // f32 [T,E]: what each expert counts for each row, 0 where it was not chosen
  Var order;    // i32 [E]: the chosen experts ascending, then the others
  Var count;    // i32: how many were chosen
};

// Padding chooses nothing.
Choice choose(Builder& b, const Rows& rows, int64_t experts) {
  const Shape grid{rows.chosen.dim(0), rows.chosen.dim(1), experts};
  const Var real = b.compare("GE", rows.sequences, b.filled_like(rows.sequences, 0.0));
  const Var same =
      b.compare("EQ", b.broadcast(rows.chosen, grid, {0, 1}), b.iota({Element::i32, grid}, 2));
  const Var hit = b.both(same, b.broadcast(real, grid, {0}));
  const Var spread = b.broadcast(rows.weights, grid, {0, 1});
  const Var part = b.select(hit, spread, b.filled_like(spread, 0.0));
  const Var hits = b.reduce(Reduction::max, b.convert(hit, Element::i32), 1);
  const Var used = b.reduce(Reduction::max, hits, 0);  // i32 [E], 1 or 0
  // Descending keys: used ones first, each part by ascending number.
  const Var number = b.iota({Element::f32, {experts}}, 0);
  const Var first = b.times(b.convert(used, Element::f32), static_cast<double>(experts));
  const Builder::Best order = b.top_k(b.subtract(first, number), experts);
  return {b.reduce(Reduction::sum, part, 1), order.indices, b.reduce(Reduction::sum, used, 0)};
}

}  // namespace

// definitions::experts: sum_j weight_j (down_e gated(gate_e x + b, up_e x + b) + b), here in
// ascending order of the experts. On a mesh `expert` splits the experts, whose rows come from and go
// back to the devices that share them, and `model` their ffn: the bias of the sum is then the first
// device's.
Vars lower_experts(const NodeLowering& it) {
  Builder& b = it.b;
  const std::vector<MeshAxis> by_expert = it.context.axes_of(it.node, 3, 0);
  const std::vector<MeshAxis> by_ffn = it.context.axes_of(it.node, 3, 1);
  const ProductForm form = product_form(it.context.options);
  const DeviceWeight& gate = it.context.matrix(it.node.operands[3]);
  const DeviceWeight& up = it.context.matrix(it.node.operands[4]);
  const DeviceWeight& down = it.context.matrix(it.node.operands[5]);
  const int64_t experts = gate.codes.dim(0);
  const Rows rows = by_expert.empty() ? own_rows(it) : rows_of_all(it, experts, by_expert);
  const Choice choice = choose(b, rows, experts);
  const auto& attributes = it.attributes<GatedAttributes>();
  DUNLIN_CHECK(!attributes.keeps_hidden || (by_expert.empty() && by_ffn.empty()),
               "the hidden rows of experts are those of one device");
  const bool one_bias = it.has(8) && !by_ffn.empty();
  const Var ffn_place = one_bias ? it.context.place(by_ffn) : Var();
  const auto bias_row = [&](size_t bias, const Vars& start, int64_t width) {
    const Var row = b.dynamic_slice(it.operand(bias), start, {1, width});
    if (bias != 8 || !one_bias) return row;
    const Var is_first = b.compare("EQ", ffn_place, b.filled_like(ffn_place, 0.0));
    return b.select(b.broadcast(is_first, row.type.dims, {}), row, b.filled_like(row, 0.0));
  };
  const auto apply = [&](const Var& expert, const Var& input, const DeviceWeight& stack,
                         size_t bias) {
    const Var y = project(b, input, one_of(b, stack, expert), form);
    if (!it.has(bias)) return y;
    const Var row = bias_row(bias, {expert, b.scalar(0)}, stack.outputs());
    return b.add(y, b.broadcast(row, y.type.dims, {0, 1}));
  };
  const auto body = [&](const Var& number, const Vars& carried) {
    const Var expert = b.reshape(b.dynamic_slice(choice.order, {number}, {1}), {});
    const Var g = apply(expert, rows.x, gate, 6);
    const Var u = apply(expert, rows.x, up, 7);
    const Var h = gated_product(b, g, u, attributes);
    const Var y = apply(expert, h, down, 8);
    const Var column = b.dynamic_slice(choice.weights, {b.scalar(0), expert}, {rows.x.dim(0), 1});
    const Var weight = b.broadcast(column, y.type.dims, {0, 1});
    const Var zero = b.filled_like(y, 0.0);
    // A row that did not choose the expert adds nothing, whatever the expert made of it.
    const Var term = b.select(b.compare("NE", weight, zero), b.multiply(weight, y), zero);
    Vars result{b.add(carried[0], term)};
    if (!attributes.keeps_hidden) return result;
    const Shape& all = carried[1].type.dims;  // [T,k,F]
    const Var same = b.compare("EQ", rows.chosen, b.broadcast(expert, rows.chosen.type.dims, {}));
    result.push_back(
        b.select(b.broadcast(same, all, {0, 1}), b.broadcast(h, all, {0, 2}), carried[1]));
    return result;
  };
  Vars start{b.constant({Element::f32, {rows.x.dim(0), down.outputs()}}, 0.0)};
  if (attributes.keeps_hidden) {
    const Shape hidden{rows.x.dim(0), rows.chosen.dim(1), gate.outputs()};
    start.push_back(b.constant({Element::f32, hidden}, 0.0));
  }
  Vars results = b.counted_loop(choice.count, start, body);
  results[0] = it.context.sum_over(it.context.scatter_sum_over(results[0], 0, by_expert), by_ffn);
  return results;
}

}  // namespace dunlin::pjrt
