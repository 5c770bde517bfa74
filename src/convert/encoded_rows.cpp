#include "convert/encoded_rows.h"

#include <fmt/format.h>

#include <cstring>
#include <memory>
#include <utility>
#include <vector>

#include "base/thread_pool.h"

namespace dunlin {
namespace {

class EncodedRows final : public ByteSource {
 public:
  EncodedRows(WeightView view, RowTarget target) : view_(std::move(view)), target_(target) {}

  Result<void> read_at(uint64_t offset, std::span<std::byte> into) const override {
    if (offset > size() || into.size() > size() - offset)
      return model_error(
          fmt::format("{}: {} ends before byte {}", name(), view_.name, offset + into.size()));
    if (into.empty()) return {};
    const FlushToZero flush_to_zero;  // as in the threads of `dunlin quantize`
    const auto bytes = static_cast<uint64_t>(target_.form.bytes());
    const uint64_t first = offset / bytes;
    const uint64_t end = (offset + into.size() + bytes - 1) / bytes;
    const auto row = static_cast<int64_t>(first);
    const auto count = static_cast<int64_t>(end - first);
    RowEncoder encoder(view_, target_);
    if (offset % bytes == 0 && into.size() % bytes == 0)
      return encoder.encode(row, count, into.data());
    std::vector<std::byte> rows(static_cast<size_t>((end - first) * bytes));
    DUNLIN_RETURN_IF_ERROR(encoder.encode(row, count, rows.data()));
    std::memcpy(into.data(), rows.data() + (offset - first * bytes), into.size());
    return {};
  }
  uint64_t size() const override {
    return static_cast<uint64_t>(view_.rows * target_.form.bytes());
  }
  const std::string& name() const override { return view_.source->name(); }

 private:
  WeightView view_;
  RowTarget target_;
};

}  // namespace

WeightView encoded_rows(const WeightView& from, const RowTarget& target) {
  WeightView view;
  view.name = from.name;
  view.format = target.form.format->format;
  view.rows = from.rows;
  view.columns = from.columns;
  view.scale_columns = target.form.scale_columns;
  view.source = std::make_shared<EncodedRows>(from, target);
  return view;
}

}  // namespace dunlin
