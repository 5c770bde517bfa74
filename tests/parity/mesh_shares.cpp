#include "mesh_shares.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cstring>
#include <map>
#include <memory>
#include <span>
#include <utility>

#include "backend/weight_share.h"
#include "base/byte_source.h"
#include "base/counted_source.h"
#include "convert/choose_formats.h"
#include "convert/gguf_tensors.h"
#include "convert/hf_quantization.h"
#include "convert/write_gguf.h"
#include "convert/write_hf.h"
#include "models/registry.h"

namespace dunlin {
namespace {

using Bytes = std::vector<std::byte>;

// Columns from which on a scale for each row is little beside the row, also those of other devices.
constexpr int64_t kLongRow = 512;

// Calls take(place in the box, place in the weight, bytes) for every piece of a row that both have.
template <typename Take>
void for_each_piece(const WeightView& view, const WeightBox& box, const Take& take) {
  const IndexRuns columns = column_bytes(view.row_form(), box.columns).value();
  for (const IndexRun& rows : box.rows.runs) {
    for (int64_t i = 0; i < rows.count; ++i) {
      for (const IndexRun& run : columns.runs) {
        take((rows.at + i) * columns.extent + run.at,
             (rows.begin + i) * view.bytes_per_row() + run.begin, static_cast<size_t>(run.count));
      }
    }
  }
}

Bytes whole_weight(const WeightView& view) {
  Bytes bytes(static_cast<size_t>(view.rows * view.bytes_per_row()));
  const auto read = view.read_rows(0, view.rows, bytes);
  EXPECT_TRUE(read.ok()) << read.error().message;
  return bytes;
}

// Of a weight, from all devices.
struct Joined {
  Bytes bytes;
  std::vector<char> is_held;

  // Takes the bytes of a box.
  void add(const WeightView& view, const WeightBox& box, const Bytes& part) {
    const auto whole = static_cast<size_t>(view.rows * view.bytes_per_row());
    bytes.resize(whole);
    is_held.resize(whole);
    for_each_piece(view, box, [&](int64_t from, int64_t to, size_t size) {
      std::memcpy(bytes.data() + to, part.data() + from, size);
      std::fill_n(is_held.begin() + to, size, char{1});
    });
  }
};

// What a device reads: of weights that are stored in turn, each of which has a source that counts, the
// sources are one.
struct DeviceShare {
  std::vector<size_t> weights = {};  // WeightIds
  std::vector<BoxOfWeight> boxes = {};
  std::vector<Bytes> expected = {};
  uint64_t bytes = 0;         // stored
  uint64_t scales = 0;        // bytes read with the views: those of whole weights
  bool has_long_rows = true;  // of those that have such scales
  std::shared_ptr<ReadCount> count = std::make_shared<ReadCount>();
  std::map<const ByteSource*, std::shared_ptr<const ByteSource>> sources = {};

  void add(size_t weight, WeightView view, const WeightBox& box) {
    expected.push_back(cut_out(view, box));
    bytes += stored_bytes(view, box);
    if (view.scales != nullptr) {
      scales += view.scales->values.size() * sizeof(float);
      has_long_rows = has_long_rows && view.columns >= kLongRow;
    }
    std::shared_ptr<const ByteSource>& source = sources[view.source.get()];
    if (source == nullptr) source = std::make_shared<CountedSource>(view.source, count);
    view.source = source;
    weights.push_back(weight);
    boxes.push_back({std::move(view), box});
  }
};

Result<DeviceShare> share_of(const Program& program, const WeightSource& weights,
                             const Sharding& sharding, const Coordinates& place) {
  const auto stages = weight_stages(program, sharding.shape.stage);
  DeviceShare share;
  for (size_t i = 0; i < program.weights.size(); ++i) {
    const int64_t stage = place[static_cast<size_t>(MeshAxis::stage)];
    if (std::ranges::find(stages[i], stage) == stages[i].end()) continue;
    DUNLIN_ASSIGN_OR_RETURN(WeightView view, weights(program.weights[i].name));
    DUNLIN_ASSIGN_OR_RETURN(const WeightBox box,
                            weight_share(program.weights[i], view, sharding, place));
    share.add(i, std::move(view), box);
  }
  return share;
}

// Reads the share as a device does. Its boxes go to `joined`, by weight.
Result<void> expect_share(const DeviceShare& share, Counted counted, const std::string& what,
                          std::vector<Joined>& joined) {
  std::vector<Bytes> read(share.boxes.size());
  const uint64_t before = file_reads().bytes;
  DUNLIN_RETURN_IF_ERROR(read_boxes(share.boxes, [&](size_t i, std::span<const std::byte> piece) {
    read[i].insert(read[i].end(), piece.begin(), piece.end());
    return Result<void>();
  }));
  const uint64_t of_files = file_reads().bytes - before;
  EXPECT_GT(share.bytes, 0u) << what;
  EXPECT_LE(10 * share.count->bytes, 11 * share.bytes) << what;
  if (share.has_long_rows) {
    EXPECT_LE(10 * (share.count->bytes + share.scales), 11 * share.bytes) << what;
  }
  if (counted == Counted::files) {
    EXPECT_LE(10 * of_files, 11 * share.bytes) << what;
  }
  for (size_t i = 0; i < read.size(); ++i) {
    const auto& [view, box] = share.boxes[i];
    EXPECT_TRUE(read[i] == share.expected[i]) << what << ", " << view.name;
    if (read[i].size() == share.expected[i].size())
      joined[share.weights[i]].add(view, box, read[i]);
  }
  return {};
}

}  // namespace

const std::vector<MeshShape>& test_meshes() {
  static const std::vector<MeshShape> kMeshes = {{.model = 2},
                                                 {.model = 4},
                                                 {.model = 8},
                                                 {.fsdp = 2},
                                                 {.data = 2},
                                                 {.stage = 2},
                                                 {.expert = 2},
                                                 {.expert = 2, .model = 2},
                                                 {.fsdp = 2, .model = 2},
                                                 {.width = 2, .model = 3}};
  return kMeshes;
}

bool fills_stages(const Checkpoint& checkpoint, const MeshShape& shape) {
  return checkpoint.config().integer("num_hidden_layers", 1, 4096).value() >= shape.stage;
}

bool has_no_blocks(const Checkpoint& checkpoint) {
  return std::ranges::all_of(checkpoint.tensors(), [](const TensorInfo& tensor) {
    return traits(tensor.format).block_elements == 1;
  });
}

Result<void> scale_model(const std::string& in, const std::string& out, const char* type) {
  DUNLIN_ASSIGN_OR_RETURN(const auto checkpoint, open_checkpoint(in));
  std::vector<Fallback> fallbacks;
  DUNLIN_ASSIGN_OR_RETURN(
      const HfTensors tensors,
      scaled_hf_tensors(*checkpoint, {.type = find_quantize_type(type)}, fallbacks));
  DUNLIN_ASSIGN_OR_RETURN(const auto pool, ThreadPool::create(2));
  const auto written = write_hf(*checkpoint, tensors, out, UINT64_MAX, *pool,
                                [](uint64_t, uint64_t) { return Result<void>(); });
  return written.ok() ? Result<void>() : written.error();
}

Result<void> quantize_model(const std::string& in, const std::string& out, const char* type) {
  DUNLIN_ASSIGN_OR_RETURN(const auto checkpoint, open_checkpoint(in));
  DUNLIN_ASSIGN_OR_RETURN(auto tensors, gguf_tensors(*checkpoint));
  const auto chosen =
      choose_formats(checkpoint->config(), {.type = find_quantize_type(type)}, tensors);
  if (!chosen.ok()) return chosen.error();
  DUNLIN_ASSIGN_OR_RETURN(const auto pool, ThreadPool::create(2));
  const auto written = write_gguf(*checkpoint, tensors, {}, out, *pool,
                                  [](uint64_t, uint64_t) { return Result<void>(); });
  return written.ok() ? Result<void>() : written.error();
}

std::vector<std::byte> cut_out(const WeightView& view, const WeightBox& box) {
  const Bytes whole = whole_weight(view);
  Bytes bytes(box_bytes(view, box));
  for_each_piece(view, box, [&](int64_t to, int64_t from, size_t count) {
    std::memcpy(bytes.data() + to, whole.data() + from, count);
  });
  return bytes;
}

Result<void> expect_shares(const Checkpoint& checkpoint, const MeshShape& shape,
                           const std::string& what, Counted counted) {
  DUNLIN_ASSIGN_OR_RETURN(const Program program, record_model(checkpoint.config(), {}));
  const WeightSource weights = [&](const std::string& name) { return checkpoint.weight(name); };
  DUNLIN_ASSIGN_OR_RETURN(const Sharding sharding, shard_weights(program, weights, shape));
  std::vector<Joined> joined(program.weights.size());
  for (int64_t device = 0; device < sharding.mesh.devices(); ++device) {
    const Coordinates place = coordinates_of(sharding.mesh, device);
    DUNLIN_ASSIGN_OR_RETURN(const DeviceShare share, share_of(program, weights, sharding, place));
    DUNLIN_RETURN_IF_ERROR(
        expect_share(share, counted, fmt::format("{}: device {}", what, device), joined));
  }
  for (size_t i = 0; i < joined.size(); ++i) {
    DUNLIN_ASSIGN_OR_RETURN(const WeightView view, weights(program.weights[i].name));
    EXPECT_TRUE(std::ranges::all_of(joined[i].is_held, [](char held) { return held == 1; }))
        << what << ": " << view.name;
    EXPECT_TRUE(joined[i].bytes == whole_weight(view)) << what << ": " << view.name;
  }
  return {};
}

}  // namespace dunlin
