// Weights are read in pieces of about a megabyte, so that the peak is one piece over what stays.
#include "backend/reference/weights.h"
#include "backend/weight_shape.h"

#include <algorithm>

namespace dunlin::reference {
namespace {

constexpr int64_t kPieceBytes = 1 << 20;

struct WeightUse {
  bool decoded = false;
  bool linear = false;
};

std::vector<WeightUse> weight_uses(const Program& program) {
  std::vector<WeightUse> uses(program.weights.size());
  for (const Node& node : program.nodes) {
    for (size_t i = 0; i < node.operands.size(); ++i) {
      const Value& value = program.values[static_cast<size_t>(node.operands[i])];
      if (value.kind != Value::Kind::weight) continue;
      WeightUse& use = uses[static_cast<size_t>(value.weight)];
      (is_linear_operand(node, i) ? use.linear : use.decoded) = true;
    }
  }
  for (const Output& output : program.outputs) {
    const Value& value = program.values[static_cast<size_t>(output.value)];
    if (value.kind == Value::Kind::weight) uses[static_cast<size_t>(value.weight)].decoded = true;
  }
  return uses;
}

// Calls fn(first row, rows, bytes) for consecutive pieces of the weight.
template <typename Function>
Result<void> for_each_piece(const WeightView& view, Function fn) {
  const int64_t row = std::max<int64_t>(1, view.bytes_per_row());
  const int64_t most = std::clamp<int64_t>(kPieceBytes / row, 1, std::max<int64_t>(1, view.rows));
  std::vector<std::byte> bytes(static_cast<size_t>(most * row));
  for (int64_t first = 0; first < view.rows; first += most) {
    const int64_t count = std::min(most, view.rows - first);
    const std::span piece(bytes.data(), static_cast<size_t>(count * view.bytes_per_row()));
    DUNLIN_RETURN_IF_ERROR(view.read_rows(first, count, piece));
    fn(first, count, piece.data());
  }
  return {};
}

Shape known_shape(const WeightDeclaration& declaration) {
  Shape shape;
  for (const AxisList& axes : declaration.dims) shape.push_back(extent(axes));
  return shape;
}

// Rows [first, first + count) of all matrices of a stack, each of which has `rows_each` rows.
void set_stack_rows(std::vector<LinearWeight>& matrices, const WeightView& view, int64_t first,
                    int64_t count, const std::byte* blocks) {
  const int64_t rows_each = matrices.front().rows;
  for (int64_t row = first; row < first + count; ++row) {
    LinearWeight& matrix = matrices[static_cast<size_t>(row / rows_each)];
    set_rows(matrix, view.row_form(), row % rows_each, 1,
             blocks + (row - first) * view.bytes_per_row());
  }
}

Result<PreparedWeight> prepare(const WeightDeclaration& declaration, const WeightView& view,
                               WeightUse use, Precision precision) {
  PreparedWeight weight;
  if (use.decoded) weight.decoded = Array(DType::f32, known_shape(declaration));
  if (use.linear) {
    const int64_t count = declaration.dims.size() == 3 ? extent(declaration.dims.front()) : 1;
    const LinearWeight empty =
        make_linear_weight(view.format, view.rows / count, view.columns, precision);
    weight.linear.assign(static_cast<size_t>(count), empty);
  }
  const auto take = [&](int64_t first, int64_t count, const std::byte* blocks) {
    if (use.decoded)
      view.row_form().decode(blocks, count, weight.decoded.f32() + first * view.columns);
    if (use.linear) set_stack_rows(weight.linear, view, first, count, blocks);
  };
  DUNLIN_RETURN_IF_ERROR(for_each_piece(view, take));
  return weight;
}

}  // namespace

bool is_linear_operand(const Node& node, size_t operand) {
  if (node.op == Op::linear) return operand == 1;
  return node.op == Op::experts && operand >= 3 && operand <= 5;  // gate, up, down
}

uint64_t PreparedWeight::bytes() const {
  auto total = static_cast<uint64_t>(decoded.size() * dtype_bytes(decoded.dtype()));
  for (const LinearWeight& matrix : linear) total += matrix.bytes();
  return total;
}

Result<std::vector<PreparedWeight>> prepare_weights(const Program& program,
                                                    const WeightSource& source,
                                                    const CompileOptions& options) {
  const std::vector<WeightUse> uses = weight_uses(program);
  std::vector<PreparedWeight> weights;
  for (size_t i = 0; i < program.weights.size(); ++i) {
    const WeightDeclaration& declaration = program.weights[i];
    if (options.progress) {
      options.progress(static_cast<double>(i) / static_cast<double>(program.weights.size()),
                       declaration.name);
    }
    DUNLIN_ASSIGN_OR_RETURN(const WeightView view, source(declaration.name));
    DUNLIN_RETURN_IF_ERROR(check_shape(declaration, view));
    DUNLIN_ASSIGN_OR_RETURN(PreparedWeight weight,
                            prepare(declaration, view, uses[i], options.precision));
    weights.push_back(std::move(weight));
  }
  if (options.progress) options.progress(1.0, "");
  return weights;
}

Result<std::vector<uint64_t>> prepared_bytes(const Program& program, const WeightSource& source,
                                             const CompileOptions& options) {
  const std::vector<WeightUse> uses = weight_uses(program);
  std::vector<uint64_t> bytes;
  for (size_t i = 0; i < program.weights.size(); ++i) {
    const WeightDeclaration& declaration = program.weights[i];
    DUNLIN_ASSIGN_OR_RETURN(const WeightView view, source(declaration.name));
    DUNLIN_RETURN_IF_ERROR(check_shape(declaration, view));
    uint64_t& each = bytes.emplace_back(0);
    if (uses[i].decoded) each += static_cast<uint64_t>(view.rows * view.columns) * sizeof(float);
    if (!uses[i].linear) continue;
    const int64_t count = declaration.dims.size() == 3 ? extent(declaration.dims.front()) : 1;
    each += static_cast<uint64_t>(count) *
            linear_weight_bytes(view.format, view.rows / count, view.columns, options.precision);
  }
  return bytes;
}

}  // namespace dunlin::reference
