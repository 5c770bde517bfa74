#include "error_cases.h"

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <map>

namespace dunlin {
namespace {

// Files with their contents, directories with nothing.
std::map<std::string, std::string> entries(const TemporaryFolder& folder) {
  std::map<std::string, std::string> found;
  for (const auto& entry : std::filesystem::recursive_directory_iterator(folder.path())) {
    const std::string path = entry.path().string();
    found[path] = entry.is_regular_file() ? read_all(path) : "";
  }
  return found;
}

}  // namespace

void expect_errors(const std::string& command, std::span<const ErrorCase> cases,
                   const TemporaryFolder& folder) {
  const auto before = entries(folder);
  for (const auto& [arguments, code, message] : cases) {
    const std::string what = fmt::format("{} {}", command, fmt::join(arguments, " "));
    std::vector<std::string> words = {command};
    words.insert(words.end(), arguments.begin(), arguments.end());
    const ProcessResult result = run_dunlin(words);
    EXPECT_EQ(result.code, code) << what << '\n' << result.err;
    EXPECT_THAT(result.err, testing::HasSubstr(message)) << what;
    EXPECT_EQ(result.out, "") << what;
    EXPECT_TRUE(entries(folder) == before) << what;
  }
}

}  // namespace dunlin
