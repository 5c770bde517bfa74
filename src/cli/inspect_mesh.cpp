#include "cli/inspect_mesh.h"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <nlohmann/json.hpp>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "backend/weight_share.h"
#include "base/byte_source.h"
#include "cli/answer.h"
#include "cli/terminal.h"
#include "engine/model.h"
#include "formats/weight_box.h"
#include "models/registry.h"
#include "report/table.h"

namespace dunlin {
namespace {

using Json = nlohmann::ordered_json;
using Clock = std::chrono::steady_clock;

struct Shard {
  std::string place;
  std::vector<BoxOfWeight> shares;

  uint64_t bytes() const {  // with the zeros that pad it
    uint64_t sum = 0;
    for (const BoxOfWeight& share : shares) sum += box_bytes(share.view, share.box);
    return sum;
  }
  uint64_t bytes_of_model() const {
    uint64_t sum = 0;
    for (const BoxOfWeight& share : shares) sum += stored_bytes(share.view, share.box);
    return sum;
  }
};

// The Program and its mesh, from which shards are made one at a time.
class Shards {
 public:
  static Result<Shards> open(const Checkpoint& checkpoint, const MeshShape& shape) {
    Shards shards(checkpoint);
    DUNLIN_ASSIGN_OR_RETURN(shards.program_, record_model(checkpoint.config(), {}));
    DUNLIN_ASSIGN_OR_RETURN(
        shards.sharding_,
        shard_weights(
            shards.program_, [&](const std::string& name) { return checkpoint.weight(name); },
            shape));
    shards.stages_ = weight_stages(shards.program_, shape.stage);
    return shards;
  }

  int64_t count() const { return shard_count(sharding_.mesh); }
  const Mesh& mesh() const { return sharding_.mesh; }

  Result<Shard> at(int64_t index) const {
    const Coordinates place = coordinates_of(sharding_.mesh, index);
    const int64_t stage = place[static_cast<size_t>(MeshAxis::stage)];
    Shard shard{.place = to_string(sharding_.mesh, place), .shares = {}};
    for (size_t i = 0; i < program_.weights.size(); ++i) {
      if (std::ranges::find(stages_[i], stage) == stages_[i].end()) continue;
      const WeightDeclaration& weight = program_.weights[i];
      DUNLIN_ASSIGN_OR_RETURN(WeightView view, checkpoint_.weight(weight.name));
      DUNLIN_ASSIGN_OR_RETURN(WeightBox box, weight_share(weight, view, sharding_, place));
      shard.shares.push_back({std::move(view), std::move(box)});
    }
    return shard;
  }

 private:
  explicit Shards(const Checkpoint& checkpoint) : checkpoint_(checkpoint) {}

  const Checkpoint& checkpoint_;
  Program program_ = {};
  Sharding sharding_ = {};
  std::vector<std::vector<int64_t>> stages_ = {};  // that read each weight
};

double megabytes(uint64_t bytes) {
  return static_cast<double>(bytes) / 1e6;
}

double fraction(uint64_t part, uint64_t whole) {
  return static_cast<double>(part) / static_cast<double>(std::max<uint64_t>(whole, 1));
}

Json sharding_json(const MeshShape& shape, const Shards& shards, uint64_t model_bytes) {
  return {{"schema_version", 1},
          {"mesh", to_string(shape)},
          {"axes", to_string(shards.mesh())},
          {"devices", shape.devices()},
          {"model_bytes", model_bytes}};
}

Json shard_json(const Shard& shard, int64_t number) {
  return {{"shard", number},
          {"place", shard.place},
          {"weights", shard.shares.size()},
          {"bytes", shard.bytes()},
          {"bytes_of_model", shard.bytes_of_model()}};
}

// Reads every share and throws it away.
Result<void> read_shares(const Shard& shard) {
  ProgressBar bar(true);
  const uint64_t all = shard.bytes();
  uint64_t done = 0;
  return read_boxes(
      shard.shares, [&](size_t share, std::span<const std::byte> bytes) -> Result<void> {
        bar.update(fraction(done += bytes.size(), all), shard.shares[share].view.name);
        return {};
      });
}

}  // namespace

Result<void> print_shards(const Checkpoint& checkpoint, const MeshShape& shape, bool json) {
  DUNLIN_ASSIGN_OR_RETURN(const Shards shards, Shards::open(checkpoint, shape));
  const uint64_t model_bytes = tensor_bytes(checkpoint);
  Json object = sharding_json(shape, shards, model_bytes);
  object["shards"] = Json::array();
  std::vector<std::vector<std::string>> rows;
  for (int64_t i = 0; i < shards.count(); ++i) {
    DUNLIN_ASSIGN_OR_RETURN(const Shard shard, shards.at(i));
    object["shards"].push_back(shard_json(shard, i + 1));
    rows.push_back({fmt::to_string(i + 1), shard.place, fmt::to_string(shard.shares.size()),
                    fmt::format("{:.1f}", megabytes(shard.bytes())),
                    fmt::format("{:.1f}", megabytes(shard.bytes_of_model())),
                    fmt::format("{:.2f}", 100 * fraction(shard.bytes_of_model(), model_bytes))});
  }
  if (json) {
    fmt::print("{}\n", json_line(object));
    return {};
  }
  const std::vector<TableColumn> columns = {{"shard", true},           {"place"},
                                            {"weights", true},         {"MB", true},
                                            {"MB of the model", true}, {"% of it", true}};
  fmt::print("mesh {}: {} devices, {} shards of the weights ({})\n{}", to_string(shape),
             shape.devices(), shards.count(), to_string(shards.mesh()),
             aligned_table(columns, rows));
  return {};
}

Result<void> print_shard_reads(const Checkpoint& checkpoint, const MeshShape& shape, int64_t number,
                               bool json) {
  DUNLIN_ASSIGN_OR_RETURN(const Shards shards, Shards::open(checkpoint, shape));
  if (number > shards.count()) {
    return usage_error(fmt::format("--shard {}: the mesh {} has {} shards of the weights", number,
                                   to_string(shape), shards.count()));
  }
  // Scales beside the elements are read with the views, those of the whole weights.
  const uint64_t bytes_before = file_reads().bytes;
  const uint64_t reads_before = file_reads().reads;
  DUNLIN_ASSIGN_OR_RETURN(const Shard shard, shards.at(number - 1));
  const Clock::time_point start = Clock::now();
  DUNLIN_RETURN_IF_ERROR(read_shares(shard));
  const double seconds = std::chrono::duration<double>(Clock::now() - start).count();
  const uint64_t read = file_reads().bytes - bytes_before;
  const uint64_t reads = file_reads().reads - reads_before;
  const uint64_t model_bytes = tensor_bytes(checkpoint);
  if (json) {
    Json object = sharding_json(shape, shards, model_bytes);
    object.update(shard_json(shard, number));
    object.update({{"bytes_read", read}, {"reads", reads}, {"seconds", seconds}});
    fmt::print("{}\n", json_line(object));
    return {};
  }
  fmt::print("shard       {} of {} of the mesh {} ({})\n", number, shards.count(), to_string(shape),
             shard.place);
  fmt::print("weights     {}: {:.1f} MB, {:.1f} of them of the model's {:.1f} MB\n",
             shard.shares.size(), megabytes(shard.bytes()), megabytes(shard.bytes_of_model()),
             megabytes(model_bytes));
  fmt::print("read        {:.1f} MB in {} reads, {:.3f} of those of the model, {:.2f} s\n",
             megabytes(read), reads, fraction(read, shard.bytes_of_model()), seconds);
  return {};
}

}  // namespace dunlin
