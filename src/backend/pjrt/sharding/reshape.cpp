#include "backend/pjrt/sharding/reshape.h"

#include "program/sharding.h"

namespace dunlin::pjrt {
namespace {

// The known sizes between two symbols, as axes that are still to be dealt.
class Deal {
 public:
  explicit Deal(const Mesh& mesh) : mesh_(mesh) {}

  void add(const AxisList& dim, int64_t size) {
    const AxisList whole{{Axis::head_dim, size}};
    const AxisList& axes = dim.empty() ? whole : dim;
    axes_.insert(axes_.end(), axes.begin(), axes.end());
  }

  // The axes of a dimension of this size; nothing where they do not come out.
  std::optional<AxisList> take(int64_t size) {
    AxisList taken;
    int64_t product = 1;
    while (product < size && next_ < axes_.size()) {
      AxisSize& axis = axes_[next_];
      const int64_t missing = size / product;
      if (size % product != 0) return std::nullopt;
      if (missing % axis.size == 0) {
        product *= axis.size;
        taken.push_back(axis);
        ++next_;
        continue;
      }
      if (is_split(axis) || axis.size % missing != 0) return std::nullopt;
      axis.size /= missing;
      product *= missing;
      taken.push_back({Axis::head_dim, missing});
    }
    // An axis of one element belongs to what is before it: one query head of a kv head.
    while (next_ < axes_.size() && axes_[next_].size == 1) taken.push_back(axes_[next_++]);
    if (product != size) return std::nullopt;
    return canonical(mesh_, taken);
  }

  bool is_done() const { return next_ == axes_.size(); }

 private:
  bool is_split(const AxisSize& axis) const { return parts(mesh_, axis.axis) > 1; }

  const Mesh& mesh_;
  AxisList axes_ = {};
  size_t next_ = 0;
};

}  // namespace

std::optional<Layout> reshaped(const Mesh& mesh, const Layout& layout, const Dims& from,
                               const Dims& to) {
  Layout result = whole_layout(to.size());
  size_t i = 0;
  size_t j = 0;
  while (i < from.size() || j < to.size()) {
    Deal deal(mesh);
    for (; i < from.size() && from[i].known(); ++i) deal.add(layout[i], from[i].size);
    for (; j < to.size() && to[j].known(); ++j) {
      const auto axes = deal.take(to[j].size);
      if (!axes) return std::nullopt;
      result[j] = *axes;
    }
    if (!deal.is_done() || (i < from.size()) != (j < to.size())) return std::nullopt;
    if (i == from.size()) break;
    if (from[i] != to[j]) return std::nullopt;
    ++i;
    ++j;
  }
  return result;
}

}  // namespace dunlin::pjrt
