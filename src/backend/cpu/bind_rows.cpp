// Binds the operations whose rows are independent of each other.
#include <algorithm>
#include <cstring>
#include <utility>

#include "backend/cpu/bind.h"
#include "backend/cpu/memory_plan.h"
#include "backend/cpu/row_steps.h"
#include "backend/reference/basic_ops.h"
#include "base/check.h"

namespace dunlin::cpu {

namespace {

// float operations of one exp, division and multiplication, for kSerialWork
constexpr int64_t kGatedWork = 4;
constexpr int64_t kElementsPerPiece = 4096;

// Elements that follow from the symbols, cut into pieces for the threads: kernels over whole arrays
// see no rows.
template <typename Piece>
class ElementStep final : public BoundStep {
 public:
  ElementStep(std::string operation, std::string kernel, Dims dims, int64_t work, Piece piece)
      : operation_(std::move(operation)),
        kernel_(std::move(kernel)),
        dims_(std::move(dims)),
        work_(work),
        piece_(piece) {}

  void run(const RunContext& context) noexcept override {
    const int64_t count = element_count(dims_, context.sizes());
    const int64_t pieces = (count + kElementsPerPiece - 1) / kElementsPerPiece;
    for_tasks(context, pieces, std::min(count, kElementsPerPiece) * work_,
              [&](int64_t begin, int64_t end, int /*worker*/) {
                const int64_t from = begin * kElementsPerPiece;
                piece_(from, std::min(count, end * kElementsPerPiece) - from);
              });
  }
  std::vector<std::pair<std::string, std::string>> kernels() const override {
    return {{operation_, kernel_}};
  }

 private:
  std::string operation_;
  std::string kernel_;
  Dims dims_;
  int64_t work_;
  Piece piece_;
};

template <typename Piece>
std::unique_ptr<BoundStep> make_element_step(const Binding& binding, const Node& node,
                                             const char* kernel, int64_t work, Piece piece) {
  return std::make_unique<ElementStep<Piece>>(
      op_name(node.op), kernel, binding.program.type(node.results[0]).dims, work, piece);
}

// Written in every step, as other values may lie there between two of them.
class ConstantStep final : public BoundStep {
 public:
  ConstantStep(reference::Array values, std::byte* to) : values_(std::move(values)), to_(to) {}

  void run(const RunContext& /*context*/) noexcept override {
    const int64_t bytes = values_.size() * dtype_bytes(values_.dtype());
    std::memcpy(to_, values_.bytes(), static_cast<size_t>(bytes));
  }
  std::vector<std::pair<std::string, std::string>> kernels() const override {
    return {{op_name(Op::constant), "constant_copy"}};
  }

 private:
  reference::Array values_;
  std::byte* to_;
};

std::unique_ptr<BoundStep> bind_constant(const Binding& binding, const Node& node) {
  const ValueType& type = binding.program.type(node.results[0]);
  Shape shape;
  for (const Dim& dim : type.dims) shape.push_back(dim.size);
  return std::make_unique<ConstantStep>(
      reference::constant(std::get<ConstAttributes>(node.attributes), type.dtype, shape),
      binding.addresses[static_cast<size_t>(node.results[0])]);
}

std::unique_ptr<BoundStep> bind_embed(const Binding& binding, const Node& node) {
  const EmbedRows rows = embed_rows(binding, node);
  return make_row_step("embed", rows.decode.name,
                       *leading_rows(binding.program.type(node.operands[0]).dims, 0),
                       rows.table.layout.columns,
                       [=](const RunContext&, int64_t row) noexcept { rows.gather(row); });
}

std::unique_ptr<BoundStep> bind_rms_norm(const Binding& binding, const Node& node) {
  const auto kernel = binding.kernels.rms_norm;
  const Dims& dims = binding.program.type(node.operands[0]).dims;
  const float* x = binding.f32(node.operands[0]);
  const float* w = binding.f32(node.operands[1]);
  const float eps = std::get<RmsNormAttributes>(node.attributes).eps;
  float* y = binding.f32(node.results[0]);
  const int64_t width = dims.back().size;
  return make_row_step("rms_norm", kernel.name, *leading_rows(dims, 1), width,
                       [=](const RunContext&, int64_t row) noexcept {
                         kernel.run(x + row * width, w, width, eps, y + row * width);
                       });
}

std::unique_ptr<BoundStep> bind_rope_angles(const Binding& binding, const Node& node) {
  const auto kernel = binding.kernels.rope_angles;
  const auto* attributes = &std::get<RopeAnglesAttributes>(node.attributes);
  const int32_t* positions = binding.i32(node.operands[0]);
  float* y = binding.f32(node.results[0]);
  const auto half = static_cast<int64_t>(attributes->inv_freq.size());
  return make_row_step("rope_angles", kernel.name,
                       *leading_rows(binding.program.type(node.operands[0]).dims, 0), half * 40,
                       [=](const RunContext&, int64_t row) noexcept {
                         kernel.run(positions[row], attributes->inv_freq.data(), half,
                                    attributes->scale, y + row * 2 * half);
                       });
}

std::unique_ptr<BoundStep> bind_rope(const Binding& binding, const Node& node) {
  const auto kernel = binding.kernels.rope;
  const Dims& dims = binding.program.type(node.operands[0]).dims;  // [T,n,h]
  const Dims& angle_dims = binding.program.type(node.operands[1]).dims;
  const float* x = binding.f32(node.operands[0]);
  const float* angles = binding.f32(node.operands[1]);
  float* y = binding.f32(node.results[0]);
  const int64_t rotary_dim = std::get<RopeAttributes>(node.attributes).rotary_dim;
  const int64_t heads = dims[1].size;
  const int64_t head_dim = dims[2].size;
  const int64_t angle_stride = angle_dims[1].size * angle_dims[2].size;
  return make_row_step("rope", kernel.name, *leading_rows(dims, 2), heads * head_dim,
                       [=](const RunContext&, int64_t row) noexcept {
                         kernel.run(x + row * heads * head_dim, heads, head_dim, rotary_dim,
                                    angles + row * angle_stride, y + row * heads * head_dim);
                       });
}

std::unique_ptr<BoundStep> bind_gated(const Binding& binding, const Node& node) {
  const GatedAttributes attributes = std::get<GatedAttributes>(node.attributes);
  const auto kernel = binding.kernels.gated[static_cast<size_t>(attributes.kind)];
  const float* gate = binding.f32(node.operands[0]);
  const float* up = binding.f32(node.operands[1]);
  float* y = binding.f32(node.results[0]);
  return make_element_step(
      binding, node, kernel.name, kGatedWork, [=](int64_t from, int64_t count) noexcept {
        kernel.run(gate + from, up + from, count, attributes.alpha, attributes.limit, y + from);
      });
}

// One operand may be a row, or several, that repeats: [N] or [M,N] under [..,M,N].
std::unique_ptr<BoundStep> bind_binary(const Binding& binding, const Node& node,
                                       const Kernel<BinaryFunction>& kernel) {
  const Dims& result = binding.program.type(node.results[0]).dims;
  const bool first_repeats = binding.program.type(node.operands[0]).dims != result;
  const ValueId repeated = node.operands[first_repeats ? 0 : 1];
  const float* a = binding.f32(node.operands[first_repeats ? 1 : 0]);
  const float* b = binding.f32(repeated);
  float* y = binding.f32(node.results[0]);
  const Dims& dims = binding.program.type(repeated).dims;
  if (dims == result) {
    return make_element_step(binding, node, kernel.name, 1,
                             [=](int64_t from, int64_t count) noexcept {
                               kernel.run(a + from, b + from, count, y + from);
                             });
  }
  const int64_t period = element_count(dims, {});
  // Addition and multiplication commute, so the repeated operand may come second.
  return make_element_step(binding, node, kernel.name, 1,
                           [=](int64_t from, int64_t count) noexcept {
                             int64_t at = from;
                             while (at < from + count) {
                               const int64_t phase = at % period;
                               const int64_t n = std::min(period - phase, from + count - at);
                               kernel.run(a + at, b + phase, n, y + at);
                               at += n;
                             }
                           });
}

// Rows of any element type: copies of bytes.
std::unique_ptr<BoundStep> bind_gather_rows(const Binding& binding, const Node& node) {
  const ValueType& type = binding.program.type(node.operands[0]);
  const Dims inner(type.dims.begin() + 1, type.dims.end());
  const Dim outer = type.dims.front();
  const int64_t element = dtype_bytes(type.dtype);
  const std::byte* x = binding.addresses[static_cast<size_t>(node.operands[0])];
  const int32_t* rows = binding.i32(node.operands[1]);
  std::byte* y = binding.addresses[static_cast<size_t>(node.results[0])];
  const int64_t work = element_count(inner, {}) / 4 + 1;
  return make_row_step("gather_rows", "gather_rows_copy",
                       *leading_rows(binding.program.type(node.operands[1]).dims, 0), work,
                       [=](const RunContext& context, int64_t row) noexcept {
                         const int64_t bytes = element_count(inner, context.sizes()) * element;
                         const int64_t last = context.sizes().of(outer) - 1;
                         const int64_t from = std::clamp<int64_t>(rows[row], 0, last);
                         std::memcpy(y + row * bytes, x + from * bytes, static_cast<size_t>(bytes));
                       });
}

}  // namespace

EmbedRows embed_rows(const Binding& binding, const Node& node) {
  const PackedMatrix table = *binding.weights.of(binding.program, node.operands[1]).packed;
  return {.table = table,
          .decode = binding.kernels.decode_row[static_cast<size_t>(table.layout.form)],
          .ids = binding.i32(node.operands[0]),
          .scale = std::get<EmbedAttributes>(node.attributes).scale,
          .y = binding.f32(node.results[0])};
}

std::unique_ptr<BoundStep> bind_rows(const Binding& binding, const Node& node) {
  switch (node.op) {
    case Op::embed:
      return bind_embed(binding, node);
    case Op::rms_norm:
      return bind_rms_norm(binding, node);
    case Op::rope_angles:
      return bind_rope_angles(binding, node);
    case Op::rope:
      return bind_rope(binding, node);
    case Op::gated:
      return bind_gated(binding, node);
    case Op::add:
      return bind_binary(binding, node, binding.kernels.add);
    case Op::mul:
      return bind_binary(binding, node, binding.kernels.mul);
    case Op::gather_rows:
      return bind_gather_rows(binding, node);
    case Op::constant:
      return bind_constant(binding, node);
    default:
      break;
  }
  DUNLIN_CHECK(false, std::string("no kernel is bound for ") + op_name(node.op));
  return nullptr;
}

}  // namespace dunlin::cpu
