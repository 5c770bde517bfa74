// Weights packed for a file: what Weights::load() puts into its arena, part by part.
#include <algorithm>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <utility>
#include <vector>

#include "backend/cpu/weights.h"
#include "base/mapped_bytes.h"

namespace dunlin::cpu {

namespace {

constexpr int64_t kPackedAtATime = 16 << 20;  // packed at a time, by all threads

class Packer final : public WeightPacker {
 public:
  // `own`: the pool, unless it is somebody else's.
  Packer(WeightLayout layout, ThreadPool& pool, std::unique_ptr<ThreadPool> own)
      : layout_(std::move(layout)), own_pool_(std::move(own)), reader_(pool) {
    std::map<WeightId, size_t> part_of;  // those that are packed
    for (const WeightId id : layout_.order()) {
      const LaidOutWeight& weight = layout_.of(id);
      if (weight.plain_at >= 0) add(weight, weight.plain_part(), false);
      if (weight.packed_at < 0) continue;
      part_of.emplace(id, parts_.size());
      add(weight, weight.packed_part(), true);
    }
    for (const auto& [id, part] : part_of) {
      if (const auto other = layout_.of(id).companion) forms_[part].companion = part_of.at(*other);
    }
  }

  const std::vector<PreparedPart>& parts() const override { return parts_; }

  std::optional<size_t> companion(size_t part) const override { return forms_[part].companion; }

  Result<void> pack(size_t part, const Take& take) override {
    const FlushToZero flush_to_zero;  // as in compile()
    return forms_[part].packed ? pack_stripes(part, take) : pack_values(part, take);
  }

 private:
  struct Form {
    const LaidOutWeight* weight;
    bool packed;
    std::optional<size_t> companion = {};  // a part
  };

  void add(const LaidOutWeight& weight, PreparedPart part, bool packed) {
    parts_.push_back(std::move(part));
    forms_.push_back({.weight = &weight, .packed = packed});
  }

  Result<void> pack_stripes(size_t part, const Take& take) {
    const std::optional<size_t> other = forms_[part].companion;
    const bool is_odd = other && !forms_[part].weight->both;
    const size_t first = is_odd ? *other : part;
    const LaidOutWeight& weight = *forms_[first].weight;
    const int64_t stripe_bytes = weight.layout.stripe_bytes();
    const int64_t stripes = weight.stripes();
    const int64_t step = std::max<int64_t>(1, kPackedAtATime / stripe_bytes);
    for (int64_t stripe = 0; stripe < stripes; stripe += step) {
      const int64_t count = std::min(step, stripes - stripe);
      piece_.resize(static_cast<size_t>(count * stripe_bytes));
      odd_piece_.resize(other ? piece_.size() : 0);
      DUNLIN_RETURN_IF_ERROR(
          reader_.pack(weight, stripe, count, piece_.data(), other ? odd_piece_.data() : nullptr));
      DUNLIN_RETURN_IF_ERROR(take(first, piece_));
      if (other) DUNLIN_RETURN_IF_ERROR(take(is_odd ? part : *other, odd_piece_));
    }
    return {};
  }

  Result<void> pack_values(size_t part, const Take& take) {
    const LaidOutWeight& weight = *forms_[part].weight;
    const WeightView& view = weight.view;
    const int64_t step = std::max<int64_t>(1, kPackedAtATime / (view.columns * int64_t{4}));
    std::vector<float> values;
    for (int64_t row = 0; row < view.rows; row += step) {
      const int64_t count = std::min(step, view.rows - row);
      values.resize(static_cast<size_t>(count * view.columns));
      DUNLIN_RETURN_IF_ERROR(reader_.read_plain(weight, row, count, values.data()));
      DUNLIN_RETURN_IF_ERROR(take(part, std::as_bytes(std::span(values))));
    }
    return {};
  }

  WeightLayout layout_;
  std::unique_ptr<ThreadPool> own_pool_;
  WeightReader reader_;
  std::vector<PreparedPart> parts_;
  std::vector<Form> forms_;  // of each part
  MappedBytes piece_;
  MappedBytes odd_piece_;  // of a companion
};

}  // namespace

Result<std::unique_ptr<WeightPacker>> make_packer(const Program& program,
                                                  const WeightSource& source,
                                                  const CompileOptions& options) {
  DUNLIN_ASSIGN_OR_RETURN(
      WeightLayout layout,
      WeightLayout::create(program, fuse(program, options.disabled), source, options.precision));
  DUNLIN_ASSIGN_OR_RETURN(auto pool, ThreadPool::create(options.threads));
  ThreadPool& used = *pool;
  return std::unique_ptr<WeightPacker>(
      std::make_unique<Packer>(std::move(layout), used, std::move(pool)));
}

std::unique_ptr<WeightPacker> make_packer(WeightLayout layout, ThreadPool& pool) {
  return std::make_unique<Packer>(std::move(layout), pool, nullptr);
}

}  // namespace dunlin::cpu
