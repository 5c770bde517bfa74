#include "backend/cpu/weights.h"

#include <fmt/format.h>

#include <algorithm>

namespace dunlin::cpu {

namespace {

// Formats and layouts; without an arena the packed matrices have no data.
std::vector<HeldWeight> held_weights(const WeightLayout& layout, const std::byte* arena) {
  std::vector<HeldWeight> held;
  for (const LaidOutWeight& each : layout.weights()) {
    HeldWeight weight;
    weight.format = each.view.format;
    if (each.packed_at >= 0) {
      const std::byte* data = arena == nullptr ? nullptr : arena + each.packed_at;
      weight.packed = PackedMatrix{each.layout, data};
    }
    if (each.plain_at >= 0 && arena != nullptr) {
      weight.plain = reinterpret_cast<const float*>(arena + each.plain_at);
    }
    held.push_back(weight);
  }
  return held;
}

}  // namespace

Result<Weights> Weights::load(const Program& program, const std::vector<FusedStep>& steps,
                              const WeightSource& source, const CompileOptions& options,
                              ThreadPool& pool) {
  DUNLIN_ASSIGN_OR_RETURN(const WeightLayout layout,
                          WeightLayout::create(program, steps, source, options.precision));
  Weights weights;
  weights.bytes_ = layout.bytes();
  if (options.prepared != nullptr) {
    DUNLIN_RETURN_IF_ERROR(weights.map(layout, options));
  } else {
    DUNLIN_RETURN_IF_ERROR(weights.read(program, layout, options, pool));
  }
  return weights;
}

Result<void> Weights::read(const Program& program, const WeightLayout& layout,
                           const CompileOptions& options, ThreadPool& pool) {
  DUNLIN_ASSIGN_OR_RETURN(arena_, Arena::create(layout.bytes(), "packed weights"));
  WeightReader reader(pool);
  const auto report = [&](size_t done, const std::string& name) {
    if (!options.progress) return;
    const auto all = static_cast<double>(std::max<size_t>(1, layout.order().size()));
    options.progress(static_cast<double>(done) / all, name);
  };
  for (size_t i = 0; i < layout.order().size(); ++i) {
    const WeightId id = layout.order()[i];
    const LaidOutWeight& weight = layout.of(id);
    report(i, program.weights[static_cast<size_t>(id)].name);
    if (weight.plain_at >= 0) {
      auto* const values = reinterpret_cast<float*>(arena_.data() + weight.plain_at);
      DUNLIN_RETURN_IF_ERROR(reader.read_plain(weight, 0, weight.view.rows, values));
    }
    if (weight.packed_at >= 0) {
      DUNLIN_RETURN_IF_ERROR(
          reader.pack(weight, 0, weight.layout.stripes(), arena_.data() + weight.packed_at));
    }
  }
  report(layout.order().size(), "");
  held_ = held_weights(layout, arena_.data());
  return {};
}

Result<void> Weights::map(const WeightLayout& layout, const CompileOptions& options) {
  prepared_ = options.prepared;
  if (prepared_->packing() != kPacking) {
    return prepared_->unsuitable(fmt::format(
        "its weights are packed as \"{}\", and this needs \"{}\"", prepared_->packing(), kPacking));
  }
  held_ = held_weights(layout, nullptr);
  const auto find = [&](const PreparedPart& part) -> Result<const std::byte*> {
    const std::byte* const data = prepared_->find(part);
    if (data != nullptr) return data;
    const char* const precision = precision_name(options.precision);
    return prepared_->unsuitable(
        fmt::format("it was not prepared for --precision {} (there is no {})", precision,
                    part.name),
        options.precision == Precision::automatic ? "" : fmt::format(" --precision {}", precision));
  };
  for (size_t i = 0; i < held_.size(); ++i) {
    const LaidOutWeight& weight = layout.weights()[i];
    if (weight.packed_at >= 0) {
      DUNLIN_ASSIGN_OR_RETURN(held_[i].packed->data, find(weight.packed_part()));
    }
    if (weight.plain_at >= 0) {
      DUNLIN_ASSIGN_OR_RETURN(const std::byte* const data, find(weight.plain_part()));
      held_[i].plain = reinterpret_cast<const float*>(data);
    }
  }
  return {};
}

Result<Weights> Weights::lay_out(const Program& program, const std::vector<FusedStep>& steps,
                                 const WeightSource& source, const CompileOptions& options) {
  DUNLIN_ASSIGN_OR_RETURN(const WeightLayout layout,
                          WeightLayout::create(program, steps, source, options.precision));
  Weights weights;
  weights.bytes_ = layout.bytes();
  for (const LaidOutWeight& each : layout.weights()) {
    int64_t bytes = each.packed_at >= 0 ? each.layout.bytes() : 0;
    if (each.plain_at >= 0) bytes += each.plain_bytes();
    weights.bytes_by_weight_.push_back(static_cast<uint64_t>(bytes));
  }
  weights.loading_bytes_ = options.prepared == nullptr ? layout.loading_bytes() : 0;
  weights.held_ = held_weights(layout, nullptr);
  return weights;
}

}  // namespace dunlin::cpu
