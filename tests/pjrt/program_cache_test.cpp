// The cache of compiled programs: what was kept is found, and whatever is wrong with it is a warning
// and a program compiled again.
#include "backend/pjrt/program_cache.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>

#include <chrono>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "backend/pjrt/compiler.h"
#include "base/log.h"
#include "pjrt_device.h"
#include "support/temporary_folder.h"

namespace dunlin::pjrt {
namespace {

namespace fs = std::filesystem;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

class ProgramCacheTest : public testing::Test {
 protected:
  void SetUp() override {
    set_warning_sink([this](const std::string& message) { warnings_.push_back(message); });
  }
  void TearDown() override {
    set_warning_sink([](const std::string&) {});
  }

  // Of an entry, beginning at `offset` from its end.
  static void damage(const std::string& path, int64_t offset) {
    std::fstream file(path, std::ios::binary | std::ios::in | std::ios::out);
    file.seekg(-offset, std::ios::end);
    const auto byte = static_cast<char>(file.get() ^ 1);
    file.seekp(-offset, std::ios::end);
    file.put(byte);
    ASSERT_TRUE(file.flush().good());
  }

  TemporaryFolder above_;
  const std::string folder_ = above_.file("deep/compiled");
  std::vector<std::string> warnings_;
};

TEST_F(ProgramCacheTest, FindsWhatAnotherProcessKept) {
  const std::string executable("a\0b", 3);
  ProgramCache first(folder_, "compiler");
  const std::string key = first.key("program", "options");
  EXPECT_EQ(key.size(), 32u);
  EXPECT_EQ(first.find(key), std::nullopt);
  first.keep(key, executable);
  ProgramCache second(folder_, "compiler");
  EXPECT_EQ(second.find(second.key("program", "options")), executable);
  EXPECT_THAT(warnings_, IsEmpty());
  struct stat status = {};
  ASSERT_EQ(::stat(folder_.c_str(), &status), 0);
  EXPECT_EQ(status.st_mode & 0777u, 0700u);
}

TEST_F(ProgramCacheTest, TheKeyHoldsProgramOptionsAndCompiler) {
  const ProgramCache cache(folder_, "compiler");
  const std::string key = cache.key("program", "options");
  EXPECT_NE(cache.key("program2", "options"), key);
  EXPECT_NE(cache.key("program", "options2"), key);
  EXPECT_NE(cache.key("sprogram", "option"), key);
  EXPECT_NE(ProgramCache(folder_, "compiler 2").key("program", "options"), key);
}

TEST_F(ProgramCacheTest, ADamagedEntryIsAWarningAndIsReplaced) {
  ProgramCache writer(folder_, "compiler");
  const std::string key = writer.key("program", "options");
  const std::vector<void (*)(const std::string&)> damages = {
      [](const std::string& path) { damage(path, 1); },
      [](const std::string& path) { fs::resize_file(path, fs::file_size(path) / 2); },
      [](const std::string& path) { fs::resize_file(path, 0); },
      [](const std::string& path) { std::ofstream(path) << "something else"; },
      [](const std::string& path) {
        fs::remove(path);
        fs::create_directory(path);
      },
  };
  for (size_t i = 0; i < damages.size(); ++i) {
    writer.keep(key, std::string("executable"));
    damages[i](writer.path(key));
    warnings_.clear();
    ProgramCache cache(folder_, "compiler");
    EXPECT_EQ(cache.find(key), std::nullopt) << i;
    EXPECT_EQ(cache.find(key), std::nullopt) << i;
    EXPECT_THAT(warnings_, ElementsAre(HasSubstr(cache.path(key)))) << i;
    if (fs::is_directory(writer.path(key))) fs::remove(writer.path(key));
    cache.keep(key, std::string("executable"));
    EXPECT_EQ(cache.find(key), "executable") << i;
  }
}

TEST_F(ProgramCacheTest, AnEntryUnderAnotherNameIsNotTaken) {
  ProgramCache cache(folder_, "compiler");
  const std::string key = cache.key("program", "options");
  const std::string other = cache.key("another program", "options");
  cache.keep(key, std::string("executable"));
  fs::rename(cache.path(key), cache.path(other));
  EXPECT_EQ(cache.find(other), std::nullopt);
  EXPECT_THAT(warnings_, ElementsAre(HasSubstr("of another program")));
}

TEST_F(ProgramCacheTest, AFolderThatCannotBeMadeIsOneWarning) {
  fs::create_directory(above_.file("deep"));
  std::ofstream(folder_) << "a file";
  ProgramCache cache(folder_, "compiler");
  for (const char* program : {"one", "two"}) {
    const std::string key = cache.key(program, "");
    EXPECT_EQ(cache.find(key), std::nullopt);
    cache.keep(key, std::string("executable"));
    EXPECT_EQ(cache.find(key), std::nullopt);
  }
  EXPECT_THAT(warnings_, ElementsAre(HasSubstr(folder_)));
}

TEST_F(ProgramCacheTest, WhatCannotBeSerialisedIsOneWarning) {
  ProgramCache cache(folder_, "compiler");
  const Error why{ErrorKind::device, "it has no words for it"};
  cache.keep(cache.key("one", ""), why);
  cache.keep(cache.key("two", ""), why);
  EXPECT_THAT(warnings_, ElementsAre(HasSubstr("it has no words for it")));
}

TEST_F(ProgramCacheTest, AFolderThatAnyoneMayWriteToIsNotUsed) {
  fs::create_directories(folder_);
  fs::permissions(folder_, fs::perms::all);
  ProgramCache cache(folder_, "compiler");
  EXPECT_FALSE(cache.enabled());
  EXPECT_THAT(warnings_, ElementsAre(HasSubstr("anyone may write")));
  cache.keep(cache.key("program", ""), std::string("executable"));
  EXPECT_TRUE(fs::is_empty(folder_));
}

TEST_F(ProgramCacheTest, WithoutAFolderNothingIsKept) {
  ProgramCache cache("", "compiler");
  const std::string key = cache.key("program", "options");
  cache.keep(key, std::string("executable"));
  EXPECT_EQ(cache.find(key), std::nullopt);
  EXPECT_THAT(warnings_, IsEmpty());
}

TEST_F(ProgramCacheTest, WhatWasNotUsedForLongestMakesRoom) {
  ProgramCache plenty(folder_, "compiler");
  const auto key = [&plenty](int i) { return plenty.key(std::to_string(i), ""); };
  const std::string executable(10'000, 'x');
  for (int i = 0; i < 4; ++i) {
    plenty.keep(key(i), executable);
    fs::last_write_time(plenty.path(key(i)),
                        fs::file_time_type::clock::now() - std::chrono::hours(10 - i));
  }
  // The oldest is used again.
  EXPECT_TRUE(plenty.find(key(0)).has_value());
  ProgramCache small(folder_, "compiler", /*most_bytes=*/35'000);
  small.keep(key(4), executable);
  for (const int i : {0, 3, 4}) EXPECT_TRUE(small.find(key(i)).has_value()) << i;
  for (const int i : {1, 2}) EXPECT_FALSE(small.find(key(i)).has_value()) << i;
  // Larger than all the room there is: not kept, and nothing goes for it.
  small.keep(key(5), std::string(40'000, 'x'));
  EXPECT_FALSE(small.find(key(5)).has_value());
  EXPECT_TRUE(small.find(key(4)).has_value());
  EXPECT_THAT(warnings_, IsEmpty());
}

// The same through a plug-in.
class CompilerCacheTest : public ProgramCacheTest {
 protected:
  std::unique_ptr<Compiler> compiler(CompileSpec spec = {}) const {
    return std::make_unique<Compiler>(test_client(), program_, LoweringOptions{}, std::move(spec),
                                      folder_);
  }

  // Makes an array of zeros, and says what that took.
  DevicePrograms make_zeros(Compiler& compiler) const {
    const TensorType type{Element::f32, {3}};
    const auto zeros = compiler.zeros(type);
    EXPECT_TRUE(zeros.ok()) << zeros.error().message;
    std::vector<float> values(3, 1.0f);
    EXPECT_TRUE(zeros->download(type, std::as_writable_bytes(std::span(values))).ok());
    EXPECT_THAT(values, ElementsAre(0.0f, 0.0f, 0.0f));
    return compiler.made();
  }

  Program program_;
};

TEST_F(CompilerCacheTest, AProgramIsCompiledOnceForAllProcesses) {
  DUNLIN_NEEDS_PLUGIN();
  const auto first = compiler();
  EXPECT_EQ(make_zeros(*first).compiled, 1);
  EXPECT_EQ(make_zeros(*first).compiled, 1);
  const auto second = compiler();
  const DevicePrograms made = make_zeros(*second);
  EXPECT_EQ(made.compiled, 0);
  EXPECT_EQ(made.loaded, 1);
  EXPECT_THAT(warnings_, IsEmpty());
}

TEST_F(CompilerCacheTest, OtherOptionsAreAnotherProgram) {
  DUNLIN_NEEDS_CPU_PLUGIN();
  make_zeros(*compiler());
  const auto other = compiler({.options = {{"xla_backend_optimization_level", int64_t{0}}}});
  EXPECT_EQ(make_zeros(*other).compiled, 1);
}

TEST_F(CompilerCacheTest, WhatThePluginDoesNotReadIsCompiledAgain) {
  DUNLIN_NEEDS_PLUGIN();
  make_zeros(*compiler());
  ASSERT_EQ(std::distance(fs::directory_iterator(folder_), fs::directory_iterator()), 1);
  const fs::path entry = fs::directory_iterator(folder_)->path();
  // Sound as a file, but nothing of the plug-in's.
  ProgramCache(folder_, "").keep(entry.stem().string(), std::string("no executable"));
  const auto again = compiler();
  EXPECT_EQ(make_zeros(*again).compiled, 1);
  EXPECT_THAT(warnings_, ElementsAre(HasSubstr(entry.string())));
  EXPECT_EQ(make_zeros(*compiler()).loaded, 1);
}

}  // namespace
}  // namespace dunlin::pjrt
