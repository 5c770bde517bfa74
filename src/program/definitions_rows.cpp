// Definitions of the operations on rows.
#include "program/definitions_detail.h"

namespace dunlin::definitions {

Tensors embed(const Definition& it) {
  const float scale = it.attributes<EmbedAttributes>().scale;
  const Tensor rows = gather(it.operands[1], it.operands[0], 0);
  return {scale == 1.0f ? rows : times(rows, scale)};
}

Tensors linear(const Definition& it) {
  const Tensor y = project(it.operands[0], it.operands[1]);
  return {it.operands.size() == 3 ? add(y, it.operands[2]) : y};
}

// w x / sqrt(mean x^2 + eps)
Tensors rms_norm(const Definition& it) {
  const Tensor x = it.operands[0];
  const int64_t last = last_axis(x);
  const Tensor squares = sum(mul(x, x), last);
  const auto count = static_cast<double>(x.dims().back().size);
  const Tensor mean = combine(squares, filled_like(squares, count), BinaryKind::div);
  const Tensor root = unary(plus(mean, it.attributes<RmsNormAttributes>().eps), UnaryKind::sqrt);
  const Tensor inverse = combine(filled_like(root, 1.0), root, BinaryKind::div);
  const Tensor normalised = mul(x, with_axis(inverse, last));
  return {mul(normalised, it.operands[1])};
}

// scale (cos, sin)(float(position) inv_freq)
Tensors rope_angles(const Definition& it) {
  const auto& attributes = it.attributes<RopeAnglesAttributes>();
  const Tensor position = with_axis(convert(it.operands[0], DType::f32), 1);  // [T,1]
  const std::vector<double> frequencies(attributes.inv_freq.begin(), attributes.inv_freq.end());
  const auto pairs = static_cast<int64_t>(frequencies.size());
  const Tensor angle =
      mul(position, constant(it.recorder, {pairs}, frequencies, DType::f32));  // [T,h/2]
  const Tensor cos = with_axis(unary(angle, UnaryKind::cos), 2);
  const Tensor sin = with_axis(unary(angle, UnaryKind::sin), 2);
  const Tensor angles = concat({cos, sin}, 2);
  return {attributes.scale == 1.0f ? angles : times(angles, attributes.scale)};
}

// y[i] = x[i] cos - x[j] sin, y[j] = x[j] cos + x[i] sin, j = i + rotary_dim / 2
Tensors rope(const Definition& it) {
  const Tensor x = it.operands[0];
  const Tensor angles = it.operands[1];
  const int64_t rotary_dim = it.attributes<RopeAttributes>().rotary_dim;
  const int64_t half = rotary_dim / 2;
  const int64_t width = x.dims()[2].size;
  const Dims one_head{x.dims()[0], 1, half};
  const Tensor cos = reshape(slice(angles, {2, 0, 1}), one_head);
  const Tensor sin = reshape(slice(angles, {2, 1, 2}), one_head);
  const Tensor low = slice(x, {2, 0, half});
  const Tensor high = slice(x, {2, half, rotary_dim});
  const Tensor low_cos = mul(low, cos);
  const Tensor high_sin = mul(high, sin);
  const Tensor high_cos = mul(high, cos);
  const Tensor low_sin = mul(low, sin);
  std::vector<Tensor> parts = {combine(low_cos, high_sin, BinaryKind::sub), add(high_cos, low_sin)};
  if (rotary_dim < width) parts.push_back(slice(x, {2, rotary_dim, width}));
  return {concat(parts, 2)};
}

Tensors gated(const Definition& it) {
  return {gated_product(it.operands[0], it.operands[1], it.attributes<GatedAttributes>())};
}

Tensors softcap(const Definition& it) {
  return {capped(it.operands[0], it.attributes<SoftcapAttributes>().cap)};
}

Tensors gather_rows(const Definition& it) {
  return {gather(it.operands[0], it.operands[1], 0)};
}

// Rows are those whose row_sequences is the sequence.
Tensors pool(const Definition& it) {
  const Tensor x = it.operands[0];
  const Dims rows{Symbol::sequences, Symbol::rows};
  const Tensor sequence = iota(it.recorder, rows, 0, DType::i32);
  const Tensor mine = compare_to(sequence, it.recorder.row_sequences(), CompareKind::eq);  // [S,T]
  if (it.attributes<PoolAttributes>().kind == PoolAttributes::Kind::last) {
    const Tensor row = iota(it.recorder, rows, 1, DType::i32);
    const Tensor last = maximum(select(mine, row, filled_like(row, -1.0)), 1);
    return {gather(x, last, 0)};
  }
  const Tensor one_hot = convert(mine, DType::f32);
  const Tensor total = dot(one_hot, x, {{}, {}, {1}, {0}});  // [S,D]
  return {combine(total, with_axis(sum(one_hot, 1), 1), BinaryKind::div)};
}

Tensors tap(const Definition& it) {
  return {it.operands[0]};
}

}  // namespace dunlin::definitions
