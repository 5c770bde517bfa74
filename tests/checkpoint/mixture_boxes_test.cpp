// What a device of a mesh reads of a mixture's experts: its share, once.
#include <gtest/gtest.h>

#include <cstddef>
#include <memory>
#include <span>
#include <stdexcept>
#include <utility>
#include <vector>

#include "base/counted_source.h"
#include "formats/weight_box.h"
#include "tiny_mixture.h"

namespace dunlin {
namespace {

// A checkpoint over a file whose reads are counted.
struct CountedFile {
  std::shared_ptr<ReadCount> count = std::make_shared<ReadCount>();
  std::unique_ptr<Checkpoint> checkpoint;

  explicit CountedFile(const Tensors& tensors) {
    const auto file =
        std::make_shared<CountedSource>(source_of(file_of(tensors), "model.safetensors"), count);
    auto opened = open_mixture(file, mixture_config());
    if (!opened.ok()) throw std::runtime_error(opened.error().message);
    checkpoint = std::move(opened).value();
    count->bytes = 0;
  }

  WeightView weight(const std::string& name) const { return checkpoint->weight(name).value(); }
};

// Some rows of every expert, or some columns of all rows.
std::vector<WeightBox> boxes_of(int64_t rows, int64_t columns) {
  WeightBox second_half{.rows = {.extent = kExperts * rows / 2},
                        .columns = IndexRuns::all(columns)};
  for (int64_t e = 0; e < kExperts; ++e)
    second_half.rows.runs.push_back({e * rows / 2, e * rows + rows / 2, rows / 2});
  const WeightBox left{.rows = IndexRuns::all(kExperts * rows),
                       .columns = {.extent = columns / 2, .runs = {{0, 0, columns / 2}}}};
  return {second_half, left};
}

// The values of a box, cut out of the whole weight.
std::vector<float> cut_out(const Checkpoint& checkpoint, const std::string& name,
                           const WeightBox& box) {
  const std::vector<float> whole = weight_values(checkpoint, name);
  const int64_t columns = checkpoint.weight(name)->columns;
  std::vector<float> values;
  for (const IndexRun& rows : box.rows.runs) {
    for (int64_t row = rows.begin; row < rows.begin + rows.count; ++row) {
      const auto from = whole.begin() + row * columns + box.columns.runs.front().begin;
      values.insert(values.end(), from, from + box.columns.extent);
    }
  }
  return values;
}

void expect_box(const CountedFile& file, const std::string& name, const WeightBox& box,
                const std::vector<std::byte>& bytes) {
  const WeightView view = file.weight(name);
  ASSERT_EQ(bytes.size(), box_bytes(view, box)) << name;
  std::vector<float> values(static_cast<size_t>(box.rows.extent * box.columns.extent));
  box_form(view, box).decode(bytes.data(), box.rows.extent, values.data());
  EXPECT_EQ(values, cut_out(*file.checkpoint, name, box)) << name;
}

// A device of a mesh has some rows, or columns, of gate and of up, which lie in turn: rows of MXFP4, or
// single numbers of each stored row. It reads both at once, and each byte of its share once.
TEST(Mixture, ADeviceReadsItsShareOfGateAndUpOnce) {
  for (const Tensors& tensors : {mxfp4_tensors(), plain_tensors()}) {
    const CountedFile file(tensors);
    const std::string gate = kStacks + "gate_proj.weight";
    const std::string up = kStacks + "up_proj.weight";
    for (const WeightBox& box : boxes_of(kFfn, kWidth)) {
      std::vector<std::byte> bytes[2];
      file.count->bytes = 0;
      const std::vector<BoxOfWeight> boxes = {{file.weight(gate), box}, {file.weight(up), box}};
      const auto read = read_boxes(boxes, [&](size_t i, std::span<const std::byte> piece) {
        bytes[i].insert(bytes[i].end(), piece.begin(), piece.end());
        return Result<void>();
      });
      ASSERT_TRUE(read.ok()) << read.error().message;
      const uint64_t share = 2 * stored_bytes(boxes[0].view, box);
      // Of columns of MXFP4 whole rows of exponents, twice as many.
      EXPECT_LE(10 * file.count->bytes, 11 * share);
      expect_box(file, gate, box, bytes[0]);
      expect_box(file, up, box, bytes[1]);
    }
  }
}

// Down is stored the other way round, where it is not MXFP4: its columns, which a mesh cuts, are rows.
TEST(Mixture, ADeviceReadsItsShareOfDownOnce) {
  const std::string down = kStacks + "down_proj.weight";
  const CountedFile file(plain_tensors());
  for (const WeightBox& box : boxes_of(kWidth, kFfn)) {
    const WeightView view = file.weight(down);
    std::vector<std::byte> bytes;
    file.count->bytes = 0;
    const auto read = read_box(view, box, [&](std::span<const std::byte> piece) {
      bytes.insert(bytes.end(), piece.begin(), piece.end());
      return Result<void>();
    });
    ASSERT_TRUE(read.ok()) << read.error().message;
    EXPECT_EQ(file.count->bytes.load(), stored_bytes(view, box));
    expect_box(file, down, box, bytes);
  }
}

// Who wants one of the two alone reads no more than its rows of MXFP4, but for the exponents; of single
// numbers both, for they lie next to each other.
TEST(Mixture, OneOfTwoAloneReadsBothAtMost) {
  for (const Tensors& tensors : {mxfp4_tensors(), plain_tensors()}) {
    const CountedFile file(tensors);
    const bool rows_apart = file.weight(kStacks + "up_proj.weight").format == Format::mxfp4;
    for (const char* name : {"gate_proj.weight", "up_proj.weight"}) {
      const WeightView view = file.weight(kStacks + name);
      const WeightBox box = boxes_of(kFfn, kWidth).front();
      std::vector<std::byte> bytes;
      file.count->bytes = 0;
      const auto read = read_box(view, box, [&](std::span<const std::byte> piece) {
        bytes.insert(bytes.end(), piece.begin(), piece.end());
        return Result<void>();
      });
      ASSERT_TRUE(read.ok()) << read.error().message;
      const uint64_t share = stored_bytes(view, box);
      EXPECT_LE(10 * file.count->bytes, (rows_apart ? 11 : 20) * share) << name;
      expect_box(file, kStacks + name, box, bytes);
    }
  }
}

}  // namespace
}  // namespace dunlin
