// Weights that XLA for CPU computes with where their file has them.
#include <gtest/gtest.h>

#include <cstdint>
#include <fstream>
#include <memory>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "backend/pjrt/weights.h"
#include "base/byte_source.h"
#include "pjrt_device.h"
#include "program/ops.h"
#include "support/temporary_folder.h"

namespace dunlin::pjrt {
namespace {

constexpr int64_t kWords = 8;
constexpr int64_t kWidth = 64;
constexpr size_t kElements = kWords * kWidth;

Program one_table() {
  return record("one_table", {},
                [](Recorder& r) {
                  const Tensor table =
                      r.weights().matrix("table", {{Axis::vocab, kWords}}, {{Axis::embed, kWidth}});
                  r.output("result", embed(r.tokens(), table));
                })
      .value();
}

// A file with the table from `offset` on, and the device's array of it.
class SharedWeights : public testing::Test {
 protected:
  void load(uint64_t offset, LoadMode mode) {
    offset_ = offset;
    const std::vector<float> values(kElements, 1.0f);
    std::ofstream file(path_, std::ios::binary);
    file << std::string(offset, '\0');
    file.write(reinterpret_cast<const char*>(values.data()), kElements * sizeof(float));
    file.close();
    const WeightView view{.name = "table",
                          .format = Format::f32,
                          .rows = kWords,
                          .columns = kWidth,
                          .source = open_file(path_).value(),
                          .offset = offset,
                          .row_map = {}};
    auto loaded = DeviceWeights::load(*client_, program_, {view}, {use_}, {.load_mode = mode});
    ASSERT_TRUE(loaded.ok()) << loaded.error().message;
    weights_ = std::move(loaded).value();
  }

  // What the device has once the file has other values.
  std::vector<float> after_a_change() const {
    std::fstream file(path_, std::ios::binary | std::ios::in | std::ios::out);
    file.seekp(static_cast<std::streamoff>(offset_));
    const std::vector<float> values(kElements, 2.0f);
    file.write(reinterpret_cast<const char*>(values.data()), kElements * sizeof(float));
    file.close();
    std::vector<float> read(kElements);
    const auto copied = weights_.of(use_).front().download(
        weight_types(program_, use_, nullptr).front(), std::as_writable_bytes(std::span(read)));
    EXPECT_TRUE(copied.ok()) << copied.error().message;
    return read;
  }

  TemporaryFolder folder_;
  const std::string path_ = folder_.file("weights");
  uint64_t offset_ = 0;
  const std::shared_ptr<const Client> client_ = test_client();
  const Program program_ = one_table();
  const WeightUse use_;
  DeviceWeights weights_;
};

const std::vector<float> kShared(kElements, 2.0f);
const std::vector<float> kCopied(kElements, 1.0f);

TEST_F(SharedWeights, LieWhereTheFileHasThemAtMultiplesOf64Bytes) {
  DUNLIN_NEEDS_CPU_PLUGIN();
  for (const uint64_t offset : {0, 64, 4096 + 128}) {
    load(offset, LoadMode::automatic);
    EXPECT_EQ(after_a_change(), kShared) << offset;
  }
}

TEST_F(SharedWeights, AreCopiedFromOtherPlacesAndWhereThatIsAskedFor) {
  DUNLIN_NEEDS_CPU_PLUGIN();
  for (const uint64_t offset : {4, 32, 4096 + 16}) {
    load(offset, LoadMode::automatic);
    EXPECT_EQ(after_a_change(), kCopied) << offset;
  }
  load(64, LoadMode::copy);
  EXPECT_EQ(after_a_change(), kCopied);
}

}  // namespace
}  // namespace dunlin::pjrt
