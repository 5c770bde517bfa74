// The weights of a checkpoint in shards for the devices of a mesh, as they are stored.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/result.h"
#include "checkpoint/checkpoint.h"
#include "checkpoint/shard_contents.h"
#include "formats/prepared_weights.h"
#include "formats/weight_box.h"
#include "formats/weight_view.h"
#include "program/program.h"
#include "program/shares.h"

namespace dunlin {

// Parts in the order of the files: of each shard its ShardContents, then its weights: each kind over all
// layers, kinds in the Program's order. What pads a share is zero. Gate and up of experts that a
// checkpoint stores row by row in turn are read together, and are each other's companion().
class ShardPacker final : public WeightPacker {
 public:
  // `checkpoint` outlives it. Errors: those of shard_weights() and weight_share(); a tensor that the
  // Program does not read; more than 1000 shards (kind usage).
  static Result<std::unique_ptr<ShardPacker>> create(const Checkpoint& checkpoint,
                                                     const Program& program,
                                                     const MeshShape& shape);

  const std::vector<PreparedPart>& parts() const override { return parts_; }
  Result<void> pack(size_t part, const Take& take) override;
  std::optional<size_t> companion(size_t part) const override { return origins_[part].companion; }

  // How many parts each shard has.
  const std::vector<size_t>& parts_of_shards() const { return parts_of_shards_; }
  const Sharding& sharding() const { return sharding_; }

 private:
  // Where the bytes of a part come from.
  struct Origin {
    size_t shard = 0;
    WeightId weight = kContents;
    size_t rows = 0;  // of the shard's runs
    size_t columns = 0;
    std::optional<size_t> companion = {};  // a part of the same shard
  };
  static constexpr WeightId kContents = -1;

  ShardPacker() = default;
  Result<void> add_shard(const Program& program, const std::vector<WeightId>& order,
                         const Coordinates& place);
  void find_companions(size_t first);
  Result<void> pack_both(size_t part, const WeightBox& share, const Take& take) const;

  Sharding sharding_ = {};
  std::vector<WeightView> views_ = {};              // by WeightId
  std::vector<std::optional<RowPair>> pairs_ = {};  // of WeightIds, by WeightId
  std::vector<std::vector<int64_t>> stages_ = {};   // that read each weight
  std::vector<ShardContents> contents_ = {};        // of each shard
  std::vector<PreparedPart> parts_ = {};
  std::vector<Origin> origins_ = {};  // of each part
  std::vector<size_t> parts_of_shards_ = {};
};

}  // namespace dunlin
