// What tests of conversions share: the models, opening what was written, and the bytes of files.
#pragma once

#include <algorithm>
#include <cstdint>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <memory>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "base/result.h"
#include "checkpoint/checkpoint.h"

namespace dunlin {

// The models of tests/data that tools/make_golden.py wrote in both containers.
inline std::vector<std::string> golden_models() {
  std::vector<std::string> names;
  for (const auto& entry : std::filesystem::directory_iterator(DUNLIN_SOURCE_DIR "/tests/data")) {
    const bool whole = std::filesystem::exists(entry.path() / "recipe.json") &&
                       std::filesystem::exists(entry.path() / "model");
    if (whole) names.push_back(entry.path().filename().string());
  }
  std::ranges::sort(names);
  return names;
}

// Throws std::runtime_error with the error's text.
inline std::unique_ptr<Checkpoint> open(const std::string& path) {
  auto checkpoint = open_checkpoint(path);
  if (!checkpoint.ok()) throw std::runtime_error(checkpoint.error().message);
  return std::move(*checkpoint);
}

// A ConvertProgress that shows nothing.
inline Result<void> nothing(uint64_t /*done*/, uint64_t /*all*/) {
  return {};
}

inline std::string content_of(const std::filesystem::path& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

inline void put(const std::filesystem::path& path, const std::string& content) {
  std::ofstream(path, std::ios::binary | std::ios::trunc) << content;
}

}  // namespace dunlin
