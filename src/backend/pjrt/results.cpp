#include "backend/pjrt/results.h"

#include <algorithm>
#include <cstring>
#include <set>
#include <string>

namespace dunlin::pjrt {
namespace {

DType dtype_of(Element element) {
  if (element == Element::i32) return DType::i32;
  return element == Element::i1 ? DType::boolean : DType::f32;
}

// What each element of the leading dimension of a launch's output is in the step; null: the output
// is whole as it is.
const std::vector<int32_t>* order_of(const Launch& launch, const Dims& dims) {
  if (dims.empty()) return nullptr;
  switch (dims.front().symbol) {
    case Symbol::rows:
      return &launch.rows;
    case Symbol::logit_rows:
      return &launch.logit_rows;
    case Symbol::sequences:
      return &launch.sequences;
    case Symbol::slots:
    case Symbol::none:
      break;
  }
  return nullptr;
}

}  // namespace

StepResults::StepResults(const Program& program)
    : program_(program), arrays_(program.outputs.size()) {}

void StepResults::prepare(const StepPlan& plan) {
  sizes_.rows = plan.rows();
  sizes_.logit_rows = static_cast<int64_t>(plan.logit_rows.size());
  sizes_.sequences = plan.sequences();
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
    arrays_[i].bytes.assign(static_cast<size_t>(arrays_[i].type.bytes()), std::byte{0});
  }
}

Result<void> StepResults::add(const Launch& launch, const std::vector<TensorType>& types,
                              std::span<const Buffer> results) {
  for (size_t i = 0; i < arrays_.size(); ++i) {
    scratch_.resize(static_cast<size_t>(types[i].bytes()));
    DUNLIN_RETURN_IF_ERROR(results[i].download(types[i], scratch_));
    std::vector<std::byte>& into = arrays_[i].bytes;
    const auto* order = order_of(launch, program_.type(program_.outputs[i].value).dims);
    if (order == nullptr) {
      std::memcpy(into.data(), scratch_.data(), std::min(into.size(), scratch_.size()));
      continue;
    }
    const size_t each = scratch_.size() / order->size();
    for (size_t from = 0; from < order->size(); ++from) {
      if ((*order)[from] < 0) continue;
      std::memcpy(into.data() + static_cast<size_t>((*order)[from]) * each,
                  scratch_.data() + from * each, each);
    }
  }
  return {};
}

const StepResults::Array* StepResults::find(const char* name) const {
  for (size_t i = 0; i < arrays_.size(); ++i) {
    if (program_.outputs[i].name == name) return &arrays_[i];
  }
  return nullptr;
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
    view.row = row_of(*logits, r, 0.0f);
    if (statistics != nullptr) {
      const auto values = row_of(*statistics, r, 0.0f);
      view.lse = values[0];
      view.entropy = values[2];
      view.varentropy = values[3];
      view.finite = values[4] != 0.0f;
    }
    if (ids != nullptr) view.ids = row_of(*ids, r, int32_t{0});
    if (candidates != nullptr) view.logits = row_of(*candidates, r, 0.0f);
    output.logits.push_back(view);
  }
}

void StepResults::publish(StepOutput& output) const {
  static const std::set<std::string> of_logits{kLogitsOutput, kStatisticsOutput,
                                               kCandidateIdsOutput, kCandidateLogitsOutput};
  output.logits.clear();
  output.taps.clear();
  publish_logits(output);
  for (size_t i = 0; i < arrays_.size(); ++i) {
    if (of_logits.contains(program_.outputs[i].name)) continue;
    const Array& array = arrays_[i];
    output.taps.push_back({program_.outputs[i].name,
                           {dtype_of(array.type.element), array.type.dims, array.bytes.data()}});
  }
}

uint64_t StepResults::bytes() const {
  uint64_t total = scratch_.capacity();
  for (const Array& array : arrays_) total += array.bytes.capacity();
  return total;
}

}  // namespace dunlin::pjrt
