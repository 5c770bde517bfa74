#include "backend/pjrt/weight_reader.h"

#include <array>
#include <span>
#include <utility>

#include "base/byte_source.h"

namespace dunlin::pjrt {

WeightReader::WeightReader(const std::vector<WeightView>& views)
    : views_(views), pairs_(row_pairs(views)) {}

Result<BoxOfWeight> WeightReader::box_of(WeightId weight, const WeightBox& share) {
  const auto index = static_cast<size_t>(weight);
  const std::optional<RowPair>& pair = pairs_[index];
  if (!pair) return BoxOfWeight{.view = views_[index], .box = share};
  const Key key{weight, share.rows, share.columns};
  if (!waiting_.contains(key)) DUNLIN_RETURN_IF_ERROR(read_pair(*pair, share));
  BoxOfWeight part;
  part.view = std::move(waiting_.extract(key).mapped());
  part.box = {.rows = IndexRuns::all(part.view.rows), .columns = IndexRuns::all(part.view.columns)};
  return part;
}

Result<void> WeightReader::read_pair(const RowPair& pair, const WeightBox& share) {
  const std::array<size_t, 2> weights = {pair.even, pair.odd};
  const auto both = rows_in_turn(views_[pair.even], views_[pair.odd]);
  std::array<std::vector<std::byte>, 2> stored;
  for (size_t i = 0; i < weights.size(); ++i)
    stored[i].reserve(box_bytes(views_[weights[i]], share));
  DUNLIN_RETURN_IF_ERROR(
      read_box_of_both(*both, share, [&](size_t number, std::span<const std::byte> piece) {
        stored[number].insert(stored[number].end(), piece.begin(), piece.end());
        return Result<void>();
      }));
  for (size_t i = 0; i < weights.size(); ++i) {
    const WeightView& view = views_[weights[i]];
    WeightView part;
    part.name = view.name;
    part.format = view.format;
    part.rows = share.rows.extent;
    part.columns = share.columns.extent;
    part.source = memory_source(std::move(stored[i]), view.source->name());
    waiting_.insert_or_assign(Key{static_cast<WeightId>(weights[i]), share.rows, share.columns},
                              std::move(part));
  }
  return {};
}

}  // namespace dunlin::pjrt
