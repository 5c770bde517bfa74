// The C++ writer and the Python tools must agree on every byte, or the goldens of the large shapes
// would belong to other weights.
#include "support/synthetic_model.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>
#include <vector>

#include "support/temporary_folder.h"

namespace dunlin {
namespace {

namespace fs = std::filesystem;

const fs::path kData = fs::path(DUNLIN_SOURCE_DIR) / "tests" / "data";

// Names of the models whose weights are committed, or of those whose weights are not.
std::vector<std::string> model_names(bool committed) {
  std::vector<std::string> names;
  for (const auto& entry : fs::directory_iterator(kData)) {
    if (!fs::exists(entry.path() / "recipe.json")) continue;
    if (fs::exists(entry.path() / "model") == committed) names.push_back(entry.path().filename());
  }
  std::sort(names.begin(), names.end());
  return names;
}

std::string read_bytes(const fs::path& path) {
  std::ifstream file(path, std::ios::binary);
  EXPECT_TRUE(file.good()) << path;
  return {std::istreambuf_iterator<char>(file), {}};
}

std::vector<std::string> file_names(const fs::path& folder) {
  std::vector<std::string> names;
  for (const auto& entry : fs::directory_iterator(folder)) names.push_back(entry.path().filename());
  std::sort(names.begin(), names.end());
  return names;
}

class SyntheticModel : public testing::TestWithParam<std::string> {
 protected:
  std::string recipe() const { return kData / GetParam() / "recipe.json"; }

  TemporaryFolder temporary_;
  const fs::path folder_ = temporary_.path();
};

class CommittedModel : public SyntheticModel {};
class LargeModel : public SyntheticModel {};

TEST_P(CommittedModel, DirectoryHasTheSameBytes) {
  const auto status = write_synthetic_directory(recipe(), folder_);
  ASSERT_TRUE(status.ok()) << status.error().message;
  const fs::path expected = kData / GetParam() / "model";
  ASSERT_EQ(file_names(folder_), file_names(expected));
  for (const std::string& name : file_names(expected)) {
    EXPECT_TRUE(read_bytes(folder_ / name) == read_bytes(expected / name)) << name;
  }
}

TEST_P(CommittedModel, GgufHasTheSameBytes) {
  const auto status = write_synthetic_gguf(recipe(), folder_ / "model.gguf");
  ASSERT_TRUE(status.ok()) << status.error().message;
  EXPECT_TRUE(read_bytes(folder_ / "model.gguf") == read_bytes(kData / GetParam() / "model.gguf"));
}

INSTANTIATE_TEST_SUITE_P(, CommittedModel, testing::ValuesIn(model_names(true)),
                         [](const auto& info) { return info.param; });

TEST_P(LargeModel, IsWrittenInBothContainers) {
  const auto directory = write_synthetic_directory(recipe(), folder_);
  ASSERT_TRUE(directory.ok()) << directory.error().message;
  const auto gguf = write_synthetic_gguf(recipe(), folder_ / "model.gguf");
  ASSERT_TRUE(gguf.ok()) << gguf.error().message;
  // The real shapes: more than 5 million BF16 weights.
  EXPECT_GT(fs::file_size(folder_ / "model.safetensors"), 10'000'000u);
  EXPECT_GT(fs::file_size(folder_ / "model.gguf"), 10'000'000u);
}

INSTANTIATE_TEST_SUITE_P(, LargeModel, testing::ValuesIn(model_names(false)),
                         [](const auto& info) { return info.param; });

TEST(SyntheticRecipe, ErrorNamesTheFile) {
  const TemporaryFolder folder;
  const std::string path = folder.file("broken_recipe.json");
  std::ofstream(path) << R"({"seed": 1, "dtype": "F32"})";
  const auto status = write_synthetic_gguf(path, folder.file("broken.gguf"));
  ASSERT_FALSE(status.ok());
  EXPECT_NE(status.error().message.find(path), std::string::npos) << status.error().message;
  EXPECT_NE(status.error().message.find("shards"), std::string::npos) << status.error().message;
}

}  // namespace
}  // namespace dunlin
