// SafetensorsWriter: what it writes is read back; files are whole or absent.
#include "checkpoint/safetensors_writer.h"

#include <gtest/gtest.h>

#include <cstring>
#include <filesystem>
#include <stdexcept>

#include "checkpoint/safetensors_reader.h"
#include "support/temporary_folder.h"

namespace dunlin {
namespace {

namespace fs = std::filesystem;

class SafetensorsWriterTest : public testing::Test {
 protected:
  std::string path() const { return folder_.file("model.safetensors"); }
  SafetensorsWriter writer() const {
    auto writer = SafetensorsWriter::create(path());
    if (!writer.ok()) throw std::runtime_error(writer.error().message);
    return std::move(*writer);
  }

  TemporaryFolder folder_;
};

TEST_F(SafetensorsWriterTest, TensorsComeBack) {
  for (const std::string& name : {std::string("a"), std::string("a.longer.name")}) {
    SafetensorsWriter writer = this->writer();
    writer.add_tensor(name, {3, 5}, Format::bf16);
    writer.add_tensor("vector", {7}, Format::f32);
    writer.add_tensor("half", {2, 2}, Format::f16);
    std::vector<std::byte> data(30 + 28 + 8);
    for (size_t i = 0; i < data.size(); ++i) data[i] = static_cast<std::byte>(3 * i + 1);
    ASSERT_TRUE(writer.begin_data().ok());
    ASSERT_TRUE(writer.write(std::span(data).first(31)).ok());
    ASSERT_TRUE(writer.write(std::span(data).subspan(31)).ok());
    EXPECT_FALSE(fs::exists(path()));
    ASSERT_TRUE(writer.finish().ok());

    const auto source = open_file(path());
    const auto tensors = read_safetensors_header(**source);
    ASSERT_TRUE(tensors.ok()) << tensors.error().message;
    ASSERT_EQ(tensors->size(), 3u);
    EXPECT_EQ((*tensors)[0].name, name);
    EXPECT_EQ((*tensors)[0].shape, (std::vector<int64_t>{3, 5}));
    EXPECT_EQ((*tensors)[0].format, Format::bf16);
    EXPECT_EQ((*tensors)[0].offset % 64, 0u);
    EXPECT_EQ((*tensors)[1].shape, (std::vector<int64_t>{7}));
    EXPECT_EQ((*tensors)[2].format, Format::f16);
    std::vector<std::byte> read(data.size());
    ASSERT_TRUE((*source)->read_at((*tensors)[0].offset, read).ok());
    EXPECT_TRUE(read == data);
    EXPECT_EQ((*source)->size(), (*tensors)[0].offset + data.size());
    fs::remove(path());
  }
}

TEST_F(SafetensorsWriterTest, AnUnfinishedFileLeavesNothing) {
  {
    SafetensorsWriter writer = this->writer();
    writer.add_tensor("t", {64}, Format::f32);
    ASSERT_TRUE(writer.begin_data().ok());
    ASSERT_TRUE(writer.write(std::vector<std::byte>(100)).ok());
  }
  EXPECT_TRUE(fs::is_empty(folder_.path()));
}

}  // namespace
}  // namespace dunlin
