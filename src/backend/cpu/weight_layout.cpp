#include "backend/cpu/weight_layout.h"

#include <fmt/format.h>

#include <algorithm>
#include <iterator>
#include <optional>

#include "backend/cpu/arena.h"
#include "backend/cpu/select.h"
#include "backend/weight_shape.h"
#include "base/check.h"
#include "base/fallible_loop.h"

namespace dunlin::cpu {

namespace {

constexpr int64_t kReadBytes = 1 << 20;  // of one pread

// Rows of one pread: about kReadBytes, in multiples of `multiple`.
int64_t rows_of_piece(const WeightView& view, int64_t multiple) {
  const int64_t row_bytes = std::max<int64_t>(1, view.bytes_per_row());
  return std::max(multiple, kReadBytes / row_bytes / multiple * multiple);
}

// Rows [first, first + count) as bytes, a bounded piece at a time: fn(first, count, bytes).
template <typename Function>
Result<void> for_each_piece(const WeightView& view, int64_t first, int64_t count, int64_t multiple,
                            MappedBytes& buffer, Function fn) {
  const int64_t most = rows_of_piece(view, multiple);
  const int64_t end = first + count;
  for (int64_t row = first; row < end; row += most) {
    const int64_t rows = std::min(most, end - row);
    const auto bytes = static_cast<size_t>(rows * view.bytes_per_row());
    if (buffer.size() < bytes) buffer.resize(bytes);
    DUNLIN_RETURN_IF_ERROR(view.read_rows(row, rows, std::span(buffer.data(), bytes)));
    fn(row, rows, buffer.data());
  }
  return {};
}

const char* scale_name(ScaleType scale) {
  switch (scale) {
    case ScaleType::none:
      return "plain";
    case ScaleType::f16:
      return "f16";
    case ScaleType::factors:
      return "factors";
    case ScaleType::f32:
      return "f32";
    case ScaleType::channel:
      return "channel";
    case ScaleType::e8m0:
      break;
  }
  return "e8m0";
}

}  // namespace

PreparedPart LaidOutWeight::packed_part() const {
  const std::string stack = matrices == 1 ? "" : fmt::format("{}, ", matrices);
  return {.name = fmt::format("{} {} {} {} [{}{}, {}]", view.name, packed_form_name(layout.form),
                              scale_name(layout.scale), layout.group, stack, layout.rows,
                              layout.columns),
          .bytes = static_cast<uint64_t>(packed_bytes())};
}

PreparedPart LaidOutWeight::plain_part() const {
  return {.name = fmt::format("{} values [{}, {}]", view.name, view.rows, view.columns),
          .bytes = static_cast<uint64_t>(plain_bytes())};
}

Result<WeightLayout> WeightLayout::create(const Program& program,
                                          const std::vector<FusedStep>& steps,
                                          const WeightSource& source, Precision precision) {
  WeightLayout layout;
  layout.weights_.resize(program.weights.size());
  layout.note_uses(program, steps);
  const std::vector<bool> kept = kept_weights(program);
  for (const WeightId id : layout.order_) {
    const auto number = static_cast<size_t>(id);
    DUNLIN_RETURN_IF_ERROR(layout.resolve(program.weights[number], source, precision, kept[number],
                                          layout.weight(id)));
  }
  layout.find_companions();
  return layout;
}

std::vector<PreparedPart> WeightLayout::parts() const {
  std::vector<PreparedPart> parts;
  for (const WeightId id : order_) {
    const LaidOutWeight& weight = of(id);
    if (weight.plain_at >= 0) parts.push_back(weight.plain_part());
    if (weight.packed_at >= 0) parts.push_back(weight.packed_part());
  }
  return parts;
}

void WeightLayout::note_uses(const Program& program, const std::vector<FusedStep>& steps) {
  const auto note = [&](ValueId id, bool packed, bool exact) {
    const Value& value = program.values[static_cast<size_t>(id)];
    if (value.kind != Value::Kind::weight) return;
    LaidOutWeight& use = weight(value.weight);
    if (!use.packed && !use.plain) order_.push_back(value.weight);
    (packed ? use.packed : use.plain) = true;
    use.exact = use.exact || exact;
  };
  for (const FusedStep& step : steps) {
    for (const int32_t number : step.nodes()) {
      const Node& node = program.nodes[static_cast<size_t>(number)];
      if (select_runner(program, node) != Runner::kernel) continue;
      for (size_t i = 0; i < node.operands.size(); ++i) {
        note(node.operands[i], reads_packed(node, i), node.op == Op::embed || node.op == Op::route);
      }
    }
  }
  for (const Output& output : program.outputs) note(output.value, false, false);
}

int64_t WeightLayout::reserve(int64_t bytes) {
  const int64_t at = bytes_;
  bytes_ = round_up(bytes_ + bytes, kCacheLine);
  return at;
}

namespace {

// Of one matrix of a packed weight. Nothing for a format without a form.
std::optional<PackedLayout> layout_of(const LaidOutWeight& weight, Precision precision) {
  const WeightView& view = weight.view;
  const int64_t rows = view.rows / weight.matrices;
  if (weight.arithmetic[0] == Arithmetic::int8wide) return wide_layout(rows, view.columns);
  const bool exact_rows = weight.exact || precision == Precision::f32;
  return packed_layout(traits(view.format), rows, view.columns, exact_rows);
}

}  // namespace

Result<void> WeightLayout::resolve(const WeightDeclaration& declaration, const WeightSource& source,
                                   Precision precision, bool kept, LaidOutWeight& weight) {
  DUNLIN_ASSIGN_OR_RETURN(weight.view, source(declaration.name));
  DUNLIN_RETURN_IF_ERROR(check_shape(declaration, weight.view));
  const WeightView& view = weight.view;
  if (weight.plain) weight.plain_at = reserve(weight.plain_bytes());
  if (!weight.packed) return {};
  for (const RowClass row_class : {RowClass::prompt, RowClass::generated}) {
    weight.arithmetic[static_cast<size_t>(row_class)] =
        linear_arithmetic(view.format, precision, row_class, kept);
  }
  DUNLIN_RETURN_IF_ERROR(check_columns(declaration, view, weight.arithmetic[0]));
  if (declaration.dims.size() == 3) weight.matrices = extent(declaration.dims.front());
  const std::optional<PackedLayout> layout = layout_of(weight, precision);
  if (!layout) {
    return model_error(fmt::format("tensor {} in {}: the CPU back end does not pack format {}",
                                   declaration.name, view.source->name(),
                                   traits(view.format).name));
  }
  weight.layout = *layout;
  weight.packed_at = reserve(weight.packed_bytes());
  const int64_t piece =
      std::min(view.rows, rows_of_piece(view, kStripeRows)) * view.bytes_per_row();
  loading_bytes_ = std::max(loading_bytes_, piece + pack_scratch_bytes(*layout) + kCacheLine);
  return {};
}

void WeightLayout::find_companions() {
  std::vector<WeightView> views;
  for (const LaidOutWeight& weight : weights_) views.push_back(weight.view);
  for (const std::optional<RowPair>& pair : row_pairs(views)) {
    if (!pair) continue;
    LaidOutWeight& even = weights_[pair->even];
    LaidOutWeight& odd = weights_[pair->odd];
    const bool alike = even.packed_at >= 0 && odd.packed_at >= 0 && even.matrices == odd.matrices &&
                       even.layout.form == odd.layout.form;
    if (!alike) continue;
    even.both = rows_in_turn(even.view, odd.view);
    even.companion = static_cast<WeightId>(pair->odd);
    odd.companion = static_cast<WeightId>(pair->even);
    const int64_t piece = std::min(even.both->rows, rows_of_piece(*even.both, 2 * kStripeRows)) *
                          even.both->bytes_per_row();
    loading_bytes_ =
        std::max(loading_bytes_, 2 * piece + pack_scratch_bytes(even.layout) + kCacheLine);
  }
}

WeightReader::WeightReader(ThreadPool& pool)
    : pool_(pool),
      buffers_(static_cast<size_t>(pool.threads())),
      parted_(static_cast<size_t>(pool.threads())),
      scratch_(static_cast<size_t>(pool.threads())) {}

Result<void> WeightReader::read_plain(const LaidOutWeight& weight, int64_t first, int64_t count,
                                      float* into) {
  const WeightView& view = weight.view;
  const RowForm form = view.row_form();
  return for_each_piece(view, first, count, 1, buffers_.front(),
                        [&](int64_t row, int64_t rows, const std::byte* bytes) {
                          form.decode(bytes, rows, into + (row - first) * view.columns);
                        });
}

Result<void> WeightReader::pack(const LaidOutWeight& weight, int64_t first, int64_t count,
                                std::byte* into, std::byte* into_odd) {
  DUNLIN_CHECK(into_odd == nullptr || weight.both.has_value(), "rows of two weights");
  const int64_t grain = std::max<int64_t>(1, count / (int64_t{4} * pool_.threads()));
  return try_parallel_for(pool_, count, grain, [&](int64_t begin, int64_t end, int worker) {
    const int64_t at = begin * weight.layout.stripe_bytes();
    const Stripes stripes = {first + begin, end - begin, into + at,
                             into_odd == nullptr ? nullptr : into_odd + at};
    return pack_stripes(weight, stripes, static_cast<size_t>(worker));
  });
}

// A matrix at a time: its last stripe may have fewer rows than the others.
Result<void> WeightReader::pack_stripes(const LaidOutWeight& weight, Stripes stripes,
                                        size_t worker) {
  const int64_t each = weight.layout.stripes();
  while (stripes.count > 0) {
    const int64_t count = std::min(stripes.count, each - stripes.first % each);
    DUNLIN_RETURN_IF_ERROR(
        pack_in_matrix(weight, {stripes.first, count, stripes.into, stripes.into_odd}, worker));
    stripes.first += count;
    stripes.count -= count;
    stripes.into += count * weight.layout.stripe_bytes();
    if (stripes.into_odd != nullptr) stripes.into_odd += count * weight.layout.stripe_bytes();
  }
  return {};
}

Result<void> WeightReader::pack_in_matrix(const LaidOutWeight& weight, const Stripes& stripes,
                                          size_t worker) {
  const WeightView& view = weight.view;
  const PackedLayout& layout = weight.layout;
  MappedBytes& scratch = scratch_[worker];
  const auto scratch_bytes = static_cast<size_t>(pack_scratch_bytes(layout) + kCacheLine);
  if (scratch.size() < scratch_bytes) scratch.resize(scratch_bytes);
  const auto start = reinterpret_cast<uintptr_t>(scratch.data());
  std::byte* aligned = scratch.data() + (kCacheLine - start % kCacheLine) % kCacheLine;
  const int64_t matrix = stripes.first / layout.stripes();
  const int64_t from = stripes.first % layout.stripes() * kStripeRows;  // row of the matrix
  const int64_t rows = std::min(layout.rows, from + stripes.count * kStripeRows) - from;
  const int64_t first = matrix * layout.rows + from;
  const int64_t row_bytes = view.bytes_per_row();
  const auto pack_rows = [&](int64_t row, int64_t count, const std::byte* bytes, std::byte* into) {
    for (int64_t i = 0; i < count; i += kStripeRows) {
      pack_stripe(layout, view.row_form(), bytes + i * row_bytes, std::min(kStripeRows, count - i),
                  aligned, into + (row + i - first) / kStripeRows * layout.stripe_bytes());
    }
  };
  if (stripes.into_odd == nullptr) {
    return for_each_piece(view, first, rows, kStripeRows, buffers_[worker],
                          [&](int64_t row, int64_t count, const std::byte* bytes) {
                            pack_rows(row, count, bytes, stripes.into);
                          });
  }
  MappedBytes& parted = parted_[worker];
  return for_each_piece(*weight.both, 2 * first, 2 * rows, 2 * kStripeRows, buffers_[worker],
                        [&](int64_t row, int64_t count, const std::byte* bytes) {
                          if (std::ssize(parted) < count * row_bytes)
                            parted.resize(static_cast<size_t>(count * row_bytes));
                          std::byte* const odd = parted.data() + count / 2 * row_bytes;
                          part_rows(bytes, count, row_bytes, parted.data(), odd);
                          pack_rows(row / 2, count / 2, parted.data(), stripes.into);
                          pack_rows(row / 2, count / 2, odd, stripes.into_odd);
                        });
}

}  // namespace dunlin::cpu
