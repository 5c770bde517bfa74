// Where plug-ins are looked for: the variables of JAX and libtpu, the cache directory, and folders of
// Python packages. Nothing is loaded.
#include "backend/pjrt/discover.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

#include "support/saved_environment.h"
#include "support/temporary_folder.h"

namespace dunlin::pjrt {
namespace {

namespace fs = std::filesystem;

using testing::HasSubstr;

// Everything that is looked at points into an empty folder, and is as it was afterwards.
class Discover : public testing::Test {
 protected:
  void SetUp() override {
    for (const char* name : {"PJRT_NAMES_AND_LIBRARY_PATHS", "TPU_LIBRARY_PATH", "PYTHONPATH",
                             "VIRTUAL_ENV", "CONDA_PREFIX", "PATH", "HOME", "DUNLIN_CACHE"}) {
      set(name, "");
    }
    set("HOME", root_.file("home"));
    set("DUNLIN_CACHE", root_.file("cache"));
  }

  void set(const std::string& name, const std::string& value) { environment_.set(name, value); }
  // An empty file below the folder.
  std::string make(const std::string& path) const {
    const fs::path file = root_.file(path);
    fs::create_directories(file.parent_path());
    std::ofstream(file) << "";
    return file.string();
  }
  static std::string path_of(const std::string& device) {
    const auto place = find_plugin(device);
    return place.ok() ? place->path : "error: " + place.error().message;
  }

  TemporaryFolder root_;
  SavedEnvironment environment_;
};

TEST_F(Discover, APathIsTakenAsItIs) {
  EXPECT_EQ(path_of("/a/plugin.so"), "/a/plugin.so");
  EXPECT_EQ(path_of("./plugin.so"), "./plugin.so");
}

TEST_F(Discover, ThePackageOfJaxIsFound) {
  const std::string library = "jax_plugins/xla_cuda13/xla_cuda_plugin.so";
  const std::string in_environment = make("venv/lib/python3.11/site-packages/" + library);
  set("VIRTUAL_ENV", root_.file("venv"));
  EXPECT_EQ(path_of("gpu"), in_environment);
  const std::string on_path = make("packages/" + library);
  set("PYTHONPATH", root_.file("none") + ":" + root_.file("packages"));
  EXPECT_EQ(path_of("gpu"), on_path);
  // What was fetched comes first.
  const std::string fetched = make("cache/pjrt/cuda/" + library);
  EXPECT_EQ(path_of("gpu"), fetched);
}

// An environment's python3 is a link to the system's, whose packages it may see.
TEST_F(Discover, ThePythonOfAShellIsFollowed) {
  make("system/bin/python3.11");
  fs::create_directories(root_.file("env/bin"));
  fs::create_symlink(root_.file("system/bin/python3.11"), root_.file("env/bin/python3"));
  const std::string library = make("system/lib/python3.11/site-packages/libtpu/libtpu.so");
  set("PATH", root_.file("env/bin"));
  EXPECT_EQ(path_of("tpu"), library);
}

TEST_F(Discover, VariablesGoBefore) {
  make("cache/pjrt/tpu/libtpu/libtpu.so");
  set("TPU_LIBRARY_PATH", "/a/libtpu.so");
  EXPECT_EQ(path_of("tpu"), "/a/libtpu.so");
  set("PJRT_NAMES_AND_LIBRARY_PATHS", "tpu:/b/libtpu.so,other:/c/other.so,other:/d/other.so,no");
  EXPECT_EQ(path_of("tpu"), "/b/libtpu.so");
  EXPECT_EQ(path_of("other"), "/c/other.so");
  std::vector<std::string> names;
  for (const PluginPlace& place : known_plugins()) names.push_back(place.name);
  std::ranges::sort(names);
  EXPECT_EQ(names, (std::vector<std::string>{"cpu-xla", "gpu", "other", "tpu"}));
}

TEST_F(Discover, WhatIsMissingIsAnErrorThatSaysWhatToDo) {
  // A system's own packages may have them: the variable says that there are none.
  set("PJRT_NAMES_AND_LIBRARY_PATHS", "gpu:,other:");
  const auto missing = find_plugin("gpu");
  ASSERT_FALSE(missing.ok());
  EXPECT_EQ(missing.error().kind, ErrorKind::device);
  EXPECT_THAT(missing.error().message, HasSubstr("scripts/fetch-pjrt cuda"));
  // Of a name that nobody knows.
  const auto nowhere = find_plugin("other");
  ASSERT_FALSE(nowhere.ok());
  EXPECT_EQ(nowhere.error().kind, ErrorKind::device);
  EXPECT_EQ(nowhere.error().message,
            "--device other: PJRT_NAMES_AND_LIBRARY_PATHS names it without a path");
  const auto unknown = find_plugin("npu");
  ASSERT_FALSE(unknown.ok());
  EXPECT_EQ(unknown.error().kind, ErrorKind::usage);
  EXPECT_THAT(unknown.error().message, HasSubstr("gpu, other, cpu-xla, tpu"));
}

TEST_F(Discover, ToolsOfCudaLieBesideThePlugin) {
  const std::string plugin = make("packages/jax_plugins/xla_cuda13/xla_cuda_plugin.so");
  EXPECT_EQ(find_cuda_tools(plugin).find(root_.path()), std::string::npos);
  make("packages/nvidia/cu13/bin/ptxas");
  EXPECT_EQ(find_cuda_tools(plugin), root_.file("packages/nvidia/cu13"));
  set("PYTHONPATH", root_.file("more"));
  make("more/nvidia/cuda_nvcc/bin/ptxas");
  EXPECT_EQ(find_cuda_tools("/elsewhere/jax_plugins/xla_cuda12/plugin.so"),
            root_.file("more/nvidia/cuda_nvcc"));
}

}  // namespace
}  // namespace dunlin::pjrt
