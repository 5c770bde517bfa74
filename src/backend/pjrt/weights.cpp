#include "backend/pjrt/weights.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstring>

#include "backend/weight_shape.h"
#include "base/float16.h"

namespace dunlin::pjrt {
namespace {

constexpr int64_t kPieceBytes = int64_t{1} << 20;

bool stored_as(Format format, Element element) {
  return (format == Format::f32 && element == Element::f32) ||
         (format == Format::f16 && element == Element::f16) ||
         (format == Format::bf16 && element == Element::bf16);
}

void convert_values(const float* values, int64_t count, Element element, std::byte* into) {
  if (element == Element::f32) {
    std::memcpy(into, values, static_cast<size_t>(count) * sizeof(float));
    return;
  }
  DUNLIN_CHECK(element == Element::bf16, "weights are float32 or bf16 once decoded");
  for (int64_t i = 0; i < count; ++i) {
    const uint16_t bits = to_bfloat16(values[i]).bits;
    std::memcpy(into + 2 * i, &bits, 2);
  }
}

}  // namespace

Result<std::vector<std::byte>> read_weight(const WeightView& view, Element element) {
  const int64_t row_elements = view.columns;
  std::vector<std::byte> result(
      static_cast<size_t>(view.rows * row_elements * element_bytes(element)));
  if (stored_as(view.format, element)) {
    DUNLIN_RETURN_IF_ERROR(view.read_rows(0, view.rows, result));
    return result;
  }
  const int64_t row_bytes = std::max<int64_t>(1, view.bytes_per_row());
  const int64_t most = std::max<int64_t>(1, kPieceBytes / row_bytes);
  std::vector<std::byte> stored(static_cast<size_t>(std::min(most, view.rows) * row_bytes));
  std::vector<float> decoded(static_cast<size_t>(std::min(most, view.rows) * row_elements));
  for (int64_t first = 0; first < view.rows; first += most) {
    const int64_t count = std::min(most, view.rows - first);
    const std::span piece(stored.data(), static_cast<size_t>(count * view.bytes_per_row()));
    DUNLIN_RETURN_IF_ERROR(view.read_rows(first, count, piece));
    view.row_form().decode(stored.data(), count, decoded.data());
    convert_values(decoded.data(), count * row_elements, element,
                   result.data() + first * row_elements * element_bytes(element));
  }
  return result;
}

TensorType weight_type(const Program& program, const WeightUse& use) {
  TensorType type{use.element, {}};
  for (const Dim& dim : program.weights[static_cast<size_t>(use.weight)].shape())
    type.dims.push_back(dim.size);
  return type;
}

Result<std::vector<WeightView>> resolve_weights(const Program& program,
                                                const WeightSource& source) {
  std::vector<WeightView> views;
  for (const WeightDeclaration& declaration : program.weights) {
    DUNLIN_ASSIGN_OR_RETURN(WeightView view, source(declaration.name));
    DUNLIN_RETURN_IF_ERROR(check_shape(declaration, view));
    views.push_back(std::move(view));
  }
  return views;
}

Result<DeviceWeights> DeviceWeights::load(const Client& client, const Program& program,
                                          const std::vector<WeightView>& views,
                                          const std::vector<WeightUse>& uses,
                                          const CompileOptions& options) {
  DeviceWeights weights;
  for (size_t i = 0; i < uses.size(); ++i) {
    const WeightUse& use = uses[i];
    const WeightDeclaration& declaration = program.weights[static_cast<size_t>(use.weight)];
    if (options.progress) {
      options.progress(static_cast<double>(i) / static_cast<double>(uses.size()), declaration.name);
    }
    const TensorType type = weight_type(program, use);
    DUNLIN_ASSIGN_OR_RETURN(const std::vector<std::byte> bytes,
                            read_weight(views[static_cast<size_t>(use.weight)], use.element));
    auto buffer = client.upload(type, bytes, 0);
    if (!buffer.ok()) return buffer.error().with_context(declaration.name);
    weights.buffers_.emplace(use, std::move(buffer).value());
    weights.bytes_ += bytes.size();
  }
  if (options.progress) options.progress(1.0, "");
  return weights;
}

}  // namespace dunlin::pjrt
