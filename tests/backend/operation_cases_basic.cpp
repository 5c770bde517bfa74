// Cases of the basic operations, alone: definitions run them in larger shapes.
#include "operation_cases.h"
#include "program/ops.h"

namespace dunlin {
namespace {

constexpr int64_t kWidth = 24;

// Each pair of the list becomes an output.
OperationCase basic_case(
    const std::string& name,
    const std::function<std::vector<Tensor>(Recorder&, Tensor, Tensor)>& operation) {
  OperationCase result;
  result.name = "basic_" + name;
  result.record = [=](Recorder& r) {
    const Tensor a = case_input(r, "a", kWidth);
    const Tensor b = case_input(r, "b", kWidth);
    int number = 0;
    for (const Tensor& y : operation(r, a, b)) r.output("result" + std::to_string(number++), y);
  };
  result.steps = steps_of_rows({1, 7}, RowClass::prompt);
  return result;
}

Tensor integers(Tensor x) {  // -170..170
  return convert(mul(x, constant(x.recorder(), {1}, {100.0}, DType::f32)), DType::i32);
}

Tensor at_least_a_quarter(Tensor x) {
  return add(unary(x, UnaryKind::abs), constant(x.recorder(), {1}, {0.25}, DType::f32));
}

std::vector<Tensor> arithmetic(Recorder& r, Tensor a, Tensor b) {
  const Tensor column = constant(r, {1}, {3.0}, DType::f32);
  const Tensor i = integers(a);
  const Tensor j = integers(b);
  return {add(a, b), mul(a, b), add(a, column), mul(column, b), add(i, j), mul(i, j)};
}

std::vector<Tensor> unary_functions(Recorder&, Tensor a, Tensor b) {
  std::vector<Tensor> results;
  for (const UnaryKind kind :
       {UnaryKind::neg, UnaryKind::exp, UnaryKind::sin, UnaryKind::cos, UnaryKind::abs}) {
    results.push_back(unary(a, kind));
  }
  const Tensor positive = at_least_a_quarter(b);
  results.push_back(unary(positive, UnaryKind::log));
  results.push_back(unary(positive, UnaryKind::sqrt));
  results.push_back(unary(integers(a), UnaryKind::neg));
  results.push_back(unary(integers(a), UnaryKind::abs));
  results.push_back(unary(compare(a, b, CompareKind::lt), UnaryKind::logical_not));
  return results;
}

std::vector<Tensor> binary_functions(Recorder& r, Tensor a, Tensor b) {
  std::vector<Tensor> results;
  const Tensor divisor = at_least_a_quarter(b);
  const Tensor i = integers(a);
  const Tensor j = integers(divisor);
  for (const BinaryKind kind :
       {BinaryKind::sub, BinaryKind::div, BinaryKind::max, BinaryKind::min}) {
    results.push_back(binary(a, divisor, kind));
    results.push_back(binary(i, j, kind));
  }
  const Tensor less = compare(a, b, CompareKind::lt);
  const Tensor positive = compare(i, j, CompareKind::gt);
  results.push_back(binary(less, positive, BinaryKind::logical_and));
  results.push_back(binary(less, positive, BinaryKind::logical_or));
  const Tensor by = broadcast(constant(r, {1}, {3.0}, DType::i32), i.dims());
  results.push_back(binary(i, by, BinaryKind::shift_left));
  results.push_back(binary(i, by, BinaryKind::shift_right));
  return results;
}

std::vector<Tensor> comparisons(Recorder&, Tensor a, Tensor b) {
  std::vector<Tensor> results;
  for (const CompareKind kind : {CompareKind::eq, CompareKind::ne, CompareKind::lt, CompareKind::le,
                                 CompareKind::gt, CompareKind::ge}) {
    results.push_back(compare(a, b, kind));
    results.push_back(compare(integers(a), integers(b), kind));
  }
  results.push_back(select(results[4], a, b));
  results.push_back(select(results[4], integers(a), integers(b)));
  return results;
}

std::vector<Tensor> generated(Recorder& r, Tensor a, Tensor b) {
  const Dims grid{Symbol::rows, 3, 4};
  return {constant(r, {2, 2}, {1.5, -2.0, 0.0, 7.0}, DType::f32),
          constant(r, grid, {5.0}, DType::i32),
          iota(r, grid, 0, DType::i32),
          iota(r, grid, 2, DType::f32),
          convert(a, DType::boolean),
          convert(compare(a, b, CompareKind::lt), DType::f32),
          convert(integers(a), DType::f32)};
}

std::vector<Tensor> layout(Recorder& r, Tensor a, Tensor b) {
  const Tensor grid = reshape(a, {Symbol::rows, 4, 6});
  const Tensor row = constant(r, {1, 6}, {1.0, 2.0, 3.0, 4.0, 5.0, 6.0}, DType::f32);
  return {grid,
          transpose(grid, {2, 0, 1}),
          slice(grid, {1, 1, 4, 2}),
          slice(a, {1, 5, 20}),
          concat({a, b, a}, 1),
          broadcast(row, {Symbol::rows, 4, 6}),
          pad(grid, {1, 2, 1, -3.5})};
}

std::vector<Tensor> sums(Recorder&, Tensor a, Tensor b) {
  const Tensor grid = reshape(a, {Symbol::rows, 4, 6});
  using Kind = ReduceAttributes::Kind;
  return {reduce(a, Kind::sum, 1),
          reduce(grid, Kind::sum, 0),
          reduce(grid, Kind::max, 1),
          reduce(integers(b), Kind::sum, 1),
          reduce(integers(b), Kind::max, 0),
          cumsum(grid, 1),
          cumsum(a, 0),
          cumsum(integers(b), 1)};
}

std::vector<Tensor> dots(Recorder& r, Tensor a, Tensor b) {
  const Tensor x = reshape(a, {Symbol::rows, 4, 6});
  const Tensor y = reshape(b, {Symbol::rows, 4, 6});
  const Tensor weight = r.weights().matrix("weight", {{Axis::ffn, 10}}, {{Axis::embed, kWidth}});
  return {dot(a, weight, {{}, {}, {1}, {1}}), dot(x, y, {{0}, {0}, {2}, {2}}),
          dot(x, y, {{0, 1}, {0, 1}, {2}, {2}}), dot(x, y, {{}, {}, {0, 2}, {0, 2}}),
          dot(x, y, {{2}, {2}, {1, 0}, {1, 0}})};
}

std::vector<Tensor> indexed(Recorder& r, Tensor a, Tensor b) {
  const Tensor numbers = constant(r, {2, 3}, {0.0, 5.0, 3.0, 3.0, 23.0, 1.0}, DType::i32);
  const Tensor into = constant(r, {4, kWidth}, {0.5}, DType::f32);
  const Tensor quarter = constant(r, {1}, {4.0}, DType::i32);
  // Sequence rows 0..3 again and again: several updates of one row.
  const Tensor row = iota(r, {Symbol::rows}, 0, DType::i32);
  const Tensor four = broadcast(quarter, row.dims());
  const Tensor whole = mul(binary(row, four, BinaryKind::div), four);
  const Tensor to = binary(row, whole, BinaryKind::sub);
  const TopK best = top_k(b, 5);
  return {gather(a, numbers, 1), gather(a, r.logit_rows(), 0), scatter_add(into, to, a),
          best.values, best.indices};
}

// The stateful primitives over two steps: what is written is read back by position.
OperationCase state_case() {
  OperationCase result;
  result.name = "basic_state_write_read";
  result.record = [](Recorder& r) {
    const Recorder::KvLayer place = r.kv_layer(0, 3, 8);
    const auto heads = [](Tensor x) { return reshape(x, {Symbol::rows, 3, 8}); };
    state_write(heads(case_input(r, "a", kWidth)), heads(case_input(r, "b", kWidth)),
                {place.group, place.layer});
    const StateSlots slots = state_read(r, {place.group, place.layer});
    r.output("k", slots.k);
    r.output("v", slots.v);
    r.output("positions", slots.positions);
  };
  result.steps = {{{{RowClass::prompt, 20, {0}}, {RowClass::prompt, 3, {1}}}},
                  {{{RowClass::generated, 1, {1, 0}}}}};
  return result;
}

OperationCase tap_case() {
  OperationCase result;
  result.name = "tap";
  result.record = [](Recorder& r) {
    const Tensor x = tap(case_input(r, "a", kWidth), "hidden", 0);
    r.output("result", tap(add(x, x), "hidden", 1));
  };
  result.taps = {"hidden.1"};
  result.steps = steps_of_rows({1, 7}, RowClass::prompt);
  return result;
}

}  // namespace

std::vector<OperationCase> basic_operation_cases() {
  return {basic_case("add_mul", arithmetic),
          basic_case("unary", unary_functions),
          basic_case("binary", binary_functions),
          basic_case("compare_select", comparisons),
          basic_case("constant_iota_convert", generated),
          basic_case("layout", layout),
          basic_case("reduce_cumsum", sums),
          basic_case("dot", dots),
          basic_case("gather_scatter_top_k", indexed),
          state_case(),
          tap_case()};
}

}  // namespace dunlin
