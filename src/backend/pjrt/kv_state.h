// The bytes of the KV cache on devices: arrays [slots, kv heads, positions, row] of each layer
// (state_types() says of which rows), updated in place because every program that writes them takes
// them by donation and leaves them in the same layout. On a mesh each device has the slots of its part
// of the batch, and its kv heads.
#pragma once

#include <cstdint>
#include <limits>
#include <vector>

#include "backend/api.h"
#include "backend/pjrt/bucket.h"
#include "backend/pjrt/client/client.h"
#include "backend/pjrt/launch.h"

namespace dunlin::pjrt {

// Bytes of the arrays of a Program, were they of float32. An error (kind does_not_fit) when they are
// more than a number holds.
Result<int64_t> kv_bytes_f32(const Program& program, const std::vector<KvGroupShape>& shapes);

// Places of a slot: `count` of them from `first` on, around the end.
struct PlaceRange {
  int32_t first = 0;
  int32_t count = 0;
  friend bool operator==(const PlaceRange&, const PlaceRange&) = default;
};

// Places of the sequence's slot that do not belong to it and may hold what is no number
// (PjrtKvState::doubtful_end). `positions`: places of a slot; `window`: of the group, 0 for none.
// Pages of a window that the cache still has are never among them, so that the sequence can be cut to
// where they are enough (KvCache::truncate()).
PlaceRange doubtful_places(const LaunchPlanner::Holding& sequence, int64_t doubtful_end,
                           int64_t positions, int64_t window);

class PjrtKvState final : public KvState {
 public:
  // As doubtful_end(): of any place.
  static constexpr int32_t kAnywhere = std::numeric_limits<int32_t>::max();
  using Arrays = std::vector<Buffer>;  // of one device

  // `pages` of each group in all. Shapes and types are those of a device, `arrays` of each device, in
  // the order of state_types(). `first_array[g]` of each group and one past the end.
  PjrtKvState(std::vector<int64_t> pages, std::vector<KvGroupShape> shapes,
              std::vector<TensorType> types, std::vector<Arrays> arrays,
              std::vector<size_t> first_array);

  int32_t groups() const override { return static_cast<int32_t>(shapes_.size()); }
  int64_t pages(int32_t group) const override;
  int64_t pages_per_slot(int32_t group) const override;
  uint64_t bytes() const override;  // of all devices

  const std::vector<KvGroupShape>& shapes() const { return shapes_; }
  const std::vector<TensorType>& types() const { return types_; }
  std::vector<Arrays>& devices() { return arrays_; }
  Arrays& arrays(size_t device = 0) { return arrays_[device]; }
  // Arrays of one group: [first, last).
  size_t first_array(int32_t group) const { return first_array_[static_cast<size_t>(group)]; }
  size_t last_array(int32_t group) const { return first_array_[static_cast<size_t>(group) + 1]; }
  // By slot of all parts of the batch: positions from here on hold numbers. Of those before it logits
  // have not told so: they may be NaN or infinite, and then all that is multiplied by them is, though
  // the factor be 0. None without groups.
  int32_t& doubtful_end(int32_t slot) { return doubtful_ends_[static_cast<size_t>(slot)]; }
  // False after a program failed that had taken the arrays: what they held is gone.
  bool intact() const;

 private:
  std::vector<int64_t> pages_;
  std::vector<KvGroupShape> shapes_;
  std::vector<TensorType> types_;
  std::vector<Arrays> arrays_;  // by device
  std::vector<size_t> first_array_;
  std::vector<int32_t> doubtful_ends_;  // by slot
};

}  // namespace dunlin::pjrt
