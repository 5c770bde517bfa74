// Weights are read in pieces of about a megabyte, so that the peak is one piece over what stays, or two
// of weights whose rows are stored in turn, which are read together.
#include "backend/reference/weights.h"

#include <algorithm>
#include <optional>
#include <span>
#include <utility>

#include "backend/weight_shape.h"
#include "formats/weight_view.h"

namespace dunlin::reference {
namespace {

constexpr int64_t kPieceBytes = 1 << 20;

struct WeightUse {
  bool decoded = false;
  bool linear = false;
  bool kept = false;
};

std::vector<WeightUse> weight_uses(const Program& program, const std::vector<bool>& kept) {
  std::vector<WeightUse> uses(program.weights.size());
  for (size_t i = 0; i < uses.size(); ++i) uses[i].kept = kept[i];
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

Result<void> check_all_columns(const Program& program, const std::vector<WeightView>& views,
                               const std::vector<WeightUse>& uses, Precision precision) {
  for (size_t i = 0; i < views.size(); ++i) {
    if (!uses[i].linear) continue;
    const Arithmetic arithmetic =
        linear_arithmetic(views[i].format, precision, RowClass::prompt, uses[i].kept);
    DUNLIN_RETURN_IF_ERROR(check_columns(program.weights[i], views[i], arithmetic));
  }
  return {};
}

// Calls fn(first row, rows, bytes) for consecutive pieces of the weight; all but the last have a
// multiple of `grain` rows.
template <typename Function>
Result<void> for_each_piece(const WeightView& view, int64_t grain, Function fn) {
  const int64_t row = std::max<int64_t>(1, view.bytes_per_row());
  const int64_t grains = std::max<int64_t>(1, kPieceBytes / (row * grain));
  const int64_t most = std::clamp<int64_t>(grains * grain, 1, std::max<int64_t>(1, view.rows));
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

// A weight on its way: `weight` has room for all of `view`.
struct Preparation {
  const WeightView& view;
  WeightUse use;
  PreparedWeight weight = {};

  Preparation(const WeightDeclaration& declaration, const WeightView& of, WeightUse how,
              Precision precision)
      : view(of), use(how) {
    if (use.decoded) weight.decoded = Array(DType::f32, known_shape(declaration));
    if (!use.linear) return;
    const int64_t count = declaration.dims.size() == 3 ? extent(declaration.dims.front()) : 1;
    const LinearWeight empty =
        make_linear_weight(view.format, view.rows / count, view.columns, precision, use.kept);
    weight.linear.assign(static_cast<size_t>(count), empty);
  }

  void take(int64_t first, int64_t count, const std::byte* blocks) {
    if (use.decoded)
      view.row_form().decode(blocks, count, weight.decoded.f32() + first * view.columns);
    if (use.linear) set_stack_rows(weight.linear, view, first, count, blocks);
  }
};

Result<void> fill(Preparation& preparation) {
  return for_each_piece(preparation.view, 1,
                        [&](int64_t first, int64_t count, const std::byte* blocks) {
                          preparation.take(first, count, blocks);
                        });
}

// Both of a RowPair, from one reading of `both`, their rows_in_turn().
Result<void> fill_both(const WeightView& both, Preparation& even, Preparation& odd) {
  const int64_t row_bytes = both.bytes_per_row();
  std::vector<std::byte> parted;
  return for_each_piece(both, 2, [&](int64_t first, int64_t count, const std::byte* blocks) {
    parted.resize(static_cast<size_t>(count * row_bytes));
    std::byte* const behind = parted.data() + count / 2 * row_bytes;
    part_rows(blocks, count, row_bytes, parted.data(), behind);
    even.take(first / 2, count / 2, parted.data());
    odd.take(first / 2, count / 2, behind);
  });
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
                                                    const CompileOptions& options,
                                                    const std::vector<bool>& kept) {
  const std::vector<WeightUse> uses = weight_uses(program, kept);
  DUNLIN_ASSIGN_OR_RETURN(const std::vector<WeightView> views, resolve_weights(program, source));
  DUNLIN_RETURN_IF_ERROR(check_all_columns(program, views, uses, options.precision));
  const std::vector<std::optional<RowPair>> pairs = row_pairs(views);
  const auto begin = [&](size_t i) {
    return Preparation(program.weights[i], views[i], uses[i], options.precision);
  };
  std::vector<PreparedWeight> weights(views.size());
  for (size_t i = 0; i < views.size(); ++i) {
    if (options.progress) {
      options.progress(static_cast<double>(i) / static_cast<double>(views.size()),
                       program.weights[i].name);
    }
    const std::optional<RowPair>& pair = pairs[i];
    if (!pair) {
      Preparation preparation = begin(i);
      DUNLIN_RETURN_IF_ERROR(fill(preparation));
      weights[i] = std::move(preparation.weight);
    } else if (i == std::min(pair->even, pair->odd)) {
      Preparation even = begin(pair->even);
      Preparation odd = begin(pair->odd);
      const auto both = rows_in_turn(even.view, odd.view);
      DUNLIN_RETURN_IF_ERROR(fill_both(*both, even, odd));
      weights[pair->even] = std::move(even.weight);
      weights[pair->odd] = std::move(odd.weight);
    }
  }
  if (options.progress) options.progress(1.0, "");
  return weights;
}

Result<std::vector<uint64_t>> prepared_bytes(const Program& program, const WeightSource& source,
                                             const CompileOptions& options,
                                             const std::vector<bool>& kept) {
  const std::vector<WeightUse> uses = weight_uses(program, kept);
  DUNLIN_ASSIGN_OR_RETURN(const std::vector<WeightView> views, resolve_weights(program, source));
  DUNLIN_RETURN_IF_ERROR(check_all_columns(program, views, uses, options.precision));
  std::vector<uint64_t> bytes;
  for (size_t i = 0; i < program.weights.size(); ++i) {
    const WeightDeclaration& declaration = program.weights[i];
    const WeightView& view = views[i];
    uint64_t& each = bytes.emplace_back(0);
    if (uses[i].decoded) each += static_cast<uint64_t>(view.rows * view.columns) * sizeof(float);
    if (!uses[i].linear) continue;
    const int64_t count = declaration.dims.size() == 3 ? extent(declaration.dims.front()) : 1;
    each += static_cast<uint64_t>(count) * linear_weight_bytes(view.format, view.rows / count,
                                                               view.columns, options.precision,
                                                               uses[i].kept);
  }
  return bytes;
}

}  // namespace dunlin::reference
