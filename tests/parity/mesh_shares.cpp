#include "mesh_shares.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstring>

#include "backend/weight_share.h"
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

struct Joined {
  Bytes bytes;
  std::vector<char> is_held;
};

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
                           const std::string& what) {
  DUNLIN_ASSIGN_OR_RETURN(const Program program, record_model(checkpoint.config(), {}));
  const WeightSource weights = [&](const std::string& name) { return checkpoint.weight(name); };
  DUNLIN_ASSIGN_OR_RETURN(const Sharding sharding, shard_weights(program, weights, shape));
  const auto stages = weight_stages(program, shape.stage);
  std::vector<Joined> joined(program.weights.size());
  for (int64_t device = 0; device < sharding.mesh.devices(); ++device) {
    const Coordinates place = coordinates_of(sharding.mesh, device);
    uint64_t share = 0;
    uint64_t scales = 0;  // read with the views: those of whole weights
    bool long_rows = true;
    const auto count = std::make_shared<ReadCount>();
    for (size_t i = 0; i < program.weights.size(); ++i) {
      const int64_t stage = place[static_cast<size_t>(MeshAxis::stage)];
      if (std::ranges::find(stages[i], stage) == stages[i].end()) continue;
      const std::string& name = program.weights[i].name;
      DUNLIN_ASSIGN_OR_RETURN(WeightView view, weights(name));
      DUNLIN_ASSIGN_OR_RETURN(const WeightBox box,
                              weight_share(program.weights[i], view, sharding, place));
      const Bytes expected = cut_out(view, box);
      share += stored_bytes(view, box);
      const auto whole_bytes = static_cast<size_t>(view.rows * view.bytes_per_row());
      if (view.scales != nullptr) {
        scales += view.scales->values.size() * sizeof(float);
        long_rows = long_rows && view.columns >= kLongRow;
      }
      view.source = std::make_shared<CountedSource>(view.source, count);
      Bytes bytes;
      DUNLIN_RETURN_IF_ERROR(read_box(view, box, [&](std::span<const std::byte> piece) {
        bytes.insert(bytes.end(), piece.begin(), piece.end());
        return Result<void>();
      }));
      EXPECT_TRUE(bytes == expected) << what << ": device " << device << ", " << name;
      if (bytes.size() != expected.size()) continue;
      joined[i].bytes.resize(whole_bytes);
      joined[i].is_held.resize(whole_bytes);
      for_each_piece(view, box, [&](int64_t from, int64_t to, size_t size) {
        std::memcpy(joined[i].bytes.data() + to, bytes.data() + from, size);
        std::fill_n(joined[i].is_held.begin() + to, size, char{1});
      });
    }
    EXPECT_GT(share, 0u) << what << ": device " << device;
    EXPECT_LE(10 * count->bytes, 11 * share) << what << ": device " << device;
    if (long_rows) {
      EXPECT_LE(10 * (count->bytes + scales), 11 * share) << what << ": device " << device;
    }
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
