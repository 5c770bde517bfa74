#include "engine/float32_weights.h"

#include <fmt/format.h>

#include <cstring>
#include <memory>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "base/byte_source.h"
#include "base/thread_pool.h"

namespace dunlin {
namespace {

// Canonical rows of a weight as float32.
class DecodedRows final : public ByteSource {
 public:
  explicit DecodedRows(WeightView view)
      : view_(std::move(view)), row_bytes_(static_cast<uint64_t>(view_.columns) * sizeof(float)) {}

  Result<void> read_at(uint64_t offset, std::span<std::byte> into) const override {
    if (offset > size() || into.size() > size() - offset)
      return model_error(
          fmt::format("{}: {} ends before byte {}", name(), view_.name, offset + into.size()));
    if (into.empty()) return {};
    const FlushToZero flush_to_zero;  // as in the threads of a back end
    const uint64_t first = offset / row_bytes_;
    const uint64_t end = (offset + into.size() + row_bytes_ - 1) / row_bytes_;
    const auto count = static_cast<int64_t>(end - first);
    const RowForm form = view_.row_form();
    std::vector<std::byte> rows(static_cast<size_t>(count * form.bytes()));
    DUNLIN_RETURN_IF_ERROR(view_.read_rows(static_cast<int64_t>(first), count, rows));
    std::vector<float> values(static_cast<size_t>(count * view_.columns));
    form.decode(rows.data(), count, values.data());
    const auto bytes = std::as_bytes(std::span(values));
    std::memcpy(into.data(), bytes.data() + (offset - first * row_bytes_), into.size());
    return {};
  }
  uint64_t size() const override { return static_cast<uint64_t>(view_.rows) * row_bytes_; }
  const std::string& name() const override { return view_.source->name(); }

 private:
  WeightView view_;
  uint64_t row_bytes_;
};

}  // namespace

WeightSource float32_weights(WeightSource weights) {
  return [in_file = std::move(weights)](const std::string& name) -> Result<WeightView> {
    DUNLIN_ASSIGN_OR_RETURN(WeightView stored, in_file(name));
    if (stored.format == Format::f32) return stored;
    WeightView view;
    view.name = stored.name;
    view.rows = stored.rows;
    view.columns = stored.columns;
    view.source = std::make_shared<const DecodedRows>(std::move(stored));
    return view;
  };
}

}  // namespace dunlin
