#include "convert/shard_packer.h"

#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <span>
#include <string_view>
#include <utility>

#include "backend/weight_share.h"
#include "convert/unread_weights.h"
#include "formats/weight_box.h"

namespace dunlin {
namespace {

// All are open while the weights are joined.
constexpr int64_t kMostShards = 1000;

// "model.layers.*.mlp.up_proj.weight": the name without the number of its layer.
std::string kind_of(const std::string& name) {
  constexpr std::string_view kLayers = ".layers.";
  const size_t begin = name.find(kLayers);
  if (begin == std::string::npos) return name;
  const size_t number = begin + kLayers.size();
  const size_t end = std::min(name.find('.', number), name.size());
  return name.substr(0, number) + '*' + name.substr(end);
}

// By kind, kinds in the order of their first weight. Of a kind, layers follow each other already.
std::vector<WeightId> file_order(const Program& program) {
  std::map<std::string, size_t> places;  // of kinds
  std::vector<std::pair<size_t, WeightId>> order;
  for (size_t i = 0; i < program.weights.size(); ++i) {
    const auto [it, is_new] = places.emplace(kind_of(program.weights[i].name), places.size());
    order.emplace_back(it->second, static_cast<WeightId>(i));
  }
  std::ranges::sort(order);
  std::vector<WeightId> weights;
  for (const auto& [kind, weight] : order) weights.push_back(weight);
  return weights;
}

// The runs of one shard, each once.
class RunTable {
 public:
  size_t index_of(IndexRuns runs) {
    return indices_.emplace(std::move(runs), indices_.size()).first->second;
  }
  std::vector<IndexRuns> in_order() const {
    std::vector<IndexRuns> runs(indices_.size());
    for (const auto& [each, index] : indices_) runs[index] = each;
    return runs;
  }

 private:
  std::map<IndexRuns, size_t> indices_ = {};
};

}  // namespace

Result<std::unique_ptr<ShardPacker>> ShardPacker::create(const Checkpoint& checkpoint,
                                                         const Program& program,
                                                         const MeshShape& shape) {
  DUNLIN_RETURN_IF_ERROR(check_all_are_read(checkpoint, program));
  const WeightSource weights = [&](const std::string& name) { return checkpoint.weight(name); };
  std::unique_ptr<ShardPacker> packer(new ShardPacker);
  DUNLIN_ASSIGN_OR_RETURN(packer->sharding_, shard_weights(program, weights, shape));
  for (const WeightDeclaration& weight : program.weights) {
    DUNLIN_ASSIGN_OR_RETURN(WeightView view, weights(weight.name));
    packer->views_.push_back(std::move(view));
  }
  packer->pairs_ = row_pairs(packer->views_);
  packer->stages_ = weight_stages(program, shape.stage);
  const std::vector<WeightId> order = file_order(program);
  const Mesh& mesh = packer->sharding_.mesh;
  if (shard_count(mesh) > kMostShards) {
    return usage_error(fmt::format("mesh {}: {} shards of the weights, more than {} files",
                                   to_string(shape), shard_count(mesh), kMostShards));
  }
  for (int64_t device = 0; device < shard_count(mesh); ++device)
    DUNLIN_RETURN_IF_ERROR(packer->add_shard(program, order, coordinates_of(mesh, device)));
  return packer;
}

Result<void> ShardPacker::add_shard(const Program& program, const std::vector<WeightId>& order,
                                    const Coordinates& place) {
  const size_t shard = contents_.size();
  const size_t first = parts_.size();
  ShardContents contents{.place = to_string(sharding_.mesh, place)};
  RunTable runs;
  parts_.push_back({.name = kContentsChunk});
  origins_.push_back({.shard = shard});
  for (const WeightId id : order) {
    const auto weight = static_cast<size_t>(id);
    const int64_t stage = place[static_cast<size_t>(MeshAxis::stage)];
    if (std::ranges::find(stages_[weight], stage) == stages_[weight].end()) continue;
    const std::string& name = program.weights[weight].name;
    DUNLIN_ASSIGN_OR_RETURN(
        WeightBox share, weight_share(program.weights[weight], views_[weight], sharding_, place));
    parts_.push_back({.name = name, .bytes = box_bytes(views_[weight], share)});
    const size_t rows = runs.index_of(std::move(share.rows));
    const size_t columns = runs.index_of(std::move(share.columns));
    origins_.push_back({.shard = shard, .weight = id, .rows = rows, .columns = columns});
    contents.parts.push_back({.weight = name, .rows = rows, .columns = columns});
  }
  find_companions(first);
  contents.runs = runs.in_order();
  parts_[first].bytes = contents_text(contents).size();
  parts_of_shards_.push_back(parts_.size() - first);
  contents_.push_back(std::move(contents));
  return {};
}

// Among the parts of a shard, from `first` on.
void ShardPacker::find_companions(size_t first) {
  std::map<WeightId, size_t> part_of;
  for (size_t i = first; i < origins_.size(); ++i) part_of.emplace(origins_[i].weight, i);
  for (size_t i = first; i < origins_.size(); ++i) {
    Origin& origin = origins_[i];
    if (origin.weight == kContents) continue;
    const auto& pair = pairs_[static_cast<size_t>(origin.weight)];
    if (!pair) continue;
    const bool even = std::cmp_equal(pair->even, origin.weight);
    const auto other = part_of.find(static_cast<WeightId>(even ? pair->odd : pair->even));
    if (other == part_of.end()) continue;
    const Origin& found = origins_[other->second];
    if (found.rows == origin.rows && found.columns == origin.columns)
      origin.companion = other->second;
  }
}

Result<void> ShardPacker::pack(size_t part, const Take& take) {
  const Origin& origin = origins_[part];
  const ShardContents& contents = contents_[origin.shard];
  if (origin.weight == kContents) {
    const std::string text = contents_text(contents);
    return take(part, std::as_bytes(std::span(text)));
  }
  const WeightBox share{.rows = contents.runs[origin.rows],
                        .columns = contents.runs[origin.columns]};
  if (origin.companion) return pack_both(part, share, take);
  return read_box(views_[static_cast<size_t>(origin.weight)], share,
                  [&](std::span<const std::byte> bytes) { return take(part, bytes); });
}

// The part and its companion, whose shares are the same.
Result<void> ShardPacker::pack_both(size_t part, const WeightBox& share, const Take& take) const {
  const Origin& origin = origins_[part];
  const RowPair pair = *pairs_[static_cast<size_t>(origin.weight)];
  const bool even = std::cmp_equal(pair.even, origin.weight);
  const size_t parts[2] = {even ? part : *origin.companion, even ? *origin.companion : part};
  const auto both = rows_in_turn(views_[pair.even], views_[pair.odd]);
  return read_box_of_both(*both, share, [&](size_t number, std::span<const std::byte> bytes) {
    return take(parts[number], bytes);
  });
}

}  // namespace dunlin
