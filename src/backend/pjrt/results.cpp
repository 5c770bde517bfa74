#include "backend/pjrt/results.h"

#include <algorithm>
#include <cstring>

#include "backend/pjrt/lower/lower.h"

namespace dunlin::pjrt {
namespace {

constexpr size_t kFinite = 4;  // the number of a row's statistics that says so: 0 or 1

DType dtype_of(Element element) {
  if (element == Element::i32) return DType::i32;
  return element == Element::i1 ? DType::boolean : DType::f32;
}

// What each element of the leading dimension of a launch's output is in the step; empty: the output
// is whole as it is.
std::span<const int32_t> order_of(const Launch& launch, int64_t part, const Dims& dims) {
  if (dims.empty()) return {};
  const Bucket& bucket = launch.bucket;
  switch (dims.front().symbol) {
    case Symbol::rows:
      return Launch::of_part(launch.rows, bucket.rows(), part);
    case Symbol::logit_rows:
      return Launch::of_part(launch.logit_rows, bucket.logit_rows, part);
    case Symbol::sequences:
      return Launch::of_part(launch.sequences, bucket.sequences(), part);
    case Symbol::slots:
    case Symbol::none:
      break;
  }
  return {};
}

}  // namespace

StepResults::StepResults(const Program& program)
    : program_(program), arrays_(program.outputs.size()) {}

void StepResults::prepare(const StepPlan& plan) {
  sizes_.rows = plan.rows();
  sizes_.logit_rows = static_cast<int64_t>(plan.logit_rows.size());
  sizes_.sequences = plan.sequences();
  steps_ = plan.steps;
  whole_rows_ = plan.whole_rows;
  unasked_finite_.assign(static_cast<size_t>(sizes_.sequences), false);
  chosen_.clear();
  if (steps_ > 1) {
    chosen_.assign(static_cast<size_t>(steps_ * sizes_.logit_rows), kNoStep);
    return;
  }
  sizes_.slots = 0;
  for (int64_t s = 0, row = 0; const Segment& segment : plan.segments) {
    for (int32_t i = 0; i < segment.sequences; ++i, ++s) {
      row += segment.rows_each;
      const int32_t last = plan.positions[static_cast<size_t>(row - 1)] + 1;
      const int64_t length = plan.lengths.empty() ? last : plan.lengths[static_cast<size_t>(s)];
      sizes_.slots = std::max(sizes_.slots, length);
    }
  }
  for (size_t i = 0; i < arrays_.size(); ++i) {
    const ValueType& type = program_.type(program_.outputs[i].value);
    arrays_[i].type = {element_of(type.dtype), {}};
    for (const Dim& dim : type.dims) arrays_[i].type.dims.push_back(sizes_.of(dim));
    const int64_t bytes = stays_on_device(i) ? 0 : arrays_[i].type.bytes();
    arrays_[i].bytes.assign(static_cast<size_t>(bytes), std::byte{0});
  }
}

Result<void> StepResults::add(const Launch& launch, int64_t batch_part,
                              std::span<const OutputArray> outputs) {
  for (size_t i = 0; i < arrays_.size(); ++i) {
    if (stays_on_device(i)) continue;
    const OutputArray& output = outputs[i];
    const auto order = order_of(launch, batch_part, program_.type(program_.outputs[i].value).dims);
    for (size_t part = 0; part < output.parts.size(); ++part) {
      scratch_.resize(static_cast<size_t>(output.type.bytes()));
      DUNLIN_RETURN_IF_ERROR(output.parts[part]->download(output.type, scratch_));
      place(output, part, order, arrays_[i]);
    }
    if (program_.outputs[i].name == kStatisticsOutput) note_unasked(launch, batch_part, order);
  }
  return {};
}

Result<void> StepResults::add_chosen(const Launch& launch, int64_t batch_part,
                                     const TensorType& type, const Buffer& chosen) {
  scratch_.resize(static_cast<size_t>(type.bytes()));
  DUNLIN_RETURN_IF_ERROR(chosen.download(type, scratch_));
  const auto order = Launch::of_part(launch.logit_rows, launch.bucket.logit_rows, batch_part);
  for (int64_t step = 0; step < steps_; ++step) {
    for (size_t row = 0; row < order.size(); ++row) {
      if (order[row] < 0) continue;
      const size_t from = static_cast<size_t>(step) * order.size() + row;
      const auto to = static_cast<size_t>(step * sizes_.logit_rows + order[row]);
      std::memcpy(&chosen_[to], scratch_.data() + from * sizeof(int32_t), sizeof(int32_t));
    }
  }
  return {};
}

void StepResults::place(const OutputArray& output, size_t part, std::span<const int32_t> order,
                        Array& into) {
  if (order.empty() && output.parts.size() == 1) {
    std::memcpy(into.bytes.data(), scratch_.data(), std::min(into.bytes.size(), scratch_.size()));
    return;
  }
  // Lines: elements that are together in the part and in the whole. Of a whole output each element
  // of the leading dimension is one.
  const bool split = output.parts.size() > 1;
  const auto bytes = static_cast<size_t>(element_bytes(output.type.element));
  const size_t all = split
                         ? scratch_.size() / (bytes * static_cast<size_t>(output.type.dims.back()))
                         : order.size();
  if (all == 0) return;
  const size_t line = scratch_.size() / all;
  const size_t whole = split ? bytes * static_cast<size_t>(into.type.dims.back()) : line;
  const size_t first = part * line;
  if (first >= whole) return;  // padding alone
  const size_t count = std::min(line, whole - first);
  const size_t lines_each = order.empty() ? 1 : all / order.size();
  for (size_t i = 0; i < all; ++i) {
    const size_t element = i / lines_each;
    if (!order.empty() && order[element] < 0) continue;
    const size_t target = order.empty() ? element : static_cast<size_t>(order[element]);
    const size_t to = (target * lines_each + i % lines_each) * whole + first;
    std::memcpy(into.bytes.data() + to, scratch_.data() + i * line, count);
  }
}

void StepResults::note_unasked(const Launch& launch, int64_t batch_part,
                               std::span<const int32_t> order) {
  const auto members = Launch::of_part(launch.sequences, launch.bucket.sequences(), batch_part);
  const bool asked = std::ranges::any_of(order, [](int32_t row) { return row >= 0; });
  if (asked || order.empty() || members.size() != 1 || members.front() < 0) return;
  float finite = 0.0f;
  std::memcpy(&finite, scratch_.data() + kFinite * sizeof finite, sizeof finite);
  unasked_finite_[static_cast<size_t>(members.front())] = finite != 0.0f;
}

const StepResults::Array* StepResults::find(const char* name) const {
  for (size_t i = 0; i < arrays_.size(); ++i) {
    if (program_.outputs[i].name == name) return &arrays_[i];
  }
  return nullptr;
}

bool StepResults::stays_on_device(size_t output) const {
  return !whole_rows_ && program_.outputs[output].name == kLogitsOutput;
}

void StepResults::publish_logits(StepOutput& output) const {
  const Array* logits = find(kLogitsOutput);
  if (logits == nullptr) return;
  const Array* statistics = find(kStatisticsOutput);
  const Array* ids = find(kCandidateIdsOutput);
  const Array* candidates = find(kCandidateLogitsOutput);
  const auto row_of = [](const Array& array, int64_t r, auto element) {
    using T = decltype(element);
    const auto width = static_cast<size_t>(array.type.dims.back());
    const auto* first = reinterpret_cast<const T*>(array.bytes.data());
    return std::span<const T>(first + static_cast<size_t>(r) * width, width);
  };
  for (int64_t r = 0; r < sizes_.logit_rows; ++r) {
    LogitsView view;
    if (whole_rows_) view.row = row_of(*logits, r, 0.0f);
    if (statistics != nullptr) {
      const auto values = row_of(*statistics, r, 0.0f);
      view.lse = values[0];
      view.entropy = values[2];
      view.varentropy = values[3];
      view.finite = values[kFinite] != 0.0f;
    }
    if (ids != nullptr) view.ids = row_of(*ids, r, int32_t{0});
    if (candidates != nullptr) view.logits = row_of(*candidates, r, 0.0f);
    output.logits.push_back(view);
  }
}

void StepResults::publish_chosen(StepOutput& output) const {
  for (const int32_t& id : chosen_) {
    LogitsView view;
    view.finite = id != kNotFinite;
    if (id >= 0) view.ids = {&id, 1};
    output.logits.push_back(view);
  }
}

void StepResults::publish(StepOutput& output) const {
  output.logits.clear();
  output.taps.clear();
  if (steps_ > 1) {
    publish_chosen(output);
    return;
  }
  publish_logits(output);
  for (size_t i = 0; i < arrays_.size(); ++i) {
    if (program_.outputs[i].is_of_logits()) continue;
    const Array& array = arrays_[i];
    output.taps.push_back({program_.outputs[i].name,
                           {dtype_of(array.type.element), array.type.dims, array.bytes.data()}});
  }
}

uint64_t StepResults::bytes() const {
  uint64_t total = scratch_.capacity() + chosen_.capacity() * sizeof(int32_t);
  for (const Array& array : arrays_) total += array.bytes.capacity();
  return total;
}

}  // namespace dunlin::pjrt
