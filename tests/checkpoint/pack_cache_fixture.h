// A model on disk, a cache of its packed weights, and parts as a back end would pack them.
#pragma once

#include <gtest/gtest.h>

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <memory>
#include <string>
#include <system_error>
#include <vector>

#include "base/log.h"
#include "checkpoint/pack_cache.h"
#include "support/temporary_folder.h"
#include "tiny_model.h"

namespace dunlin {

class PackCacheFixture : public testing::Test {
 protected:
  using Parts = std::vector<PreparedPart>;
  using Bytes = std::vector<std::byte>;

  static constexpr const char* kPacking = "test 1";

  static Parts two_parts() {
    return {{.name = "norm values [1, 25]", .bytes = 100}, {.name = "gate q4 [9]", .bytes = 5000}};
  }
  // The second has more than a piece of an artifact.
  static Parts large_parts() {
    Parts parts = two_parts();
    parts[1].bytes = 5'000'001;
    return parts;
  }
  static uint64_t total_of(const Parts& parts) {
    uint64_t total = 0;
    for (const PreparedPart& part : parts) total += part.bytes;
    return total;
  }

  // Bytes that differ from part to part.
  static Bytes bytes_of(const PreparedPart& part) {
    Bytes bytes(part.bytes);
    for (size_t i = 0; i < bytes.size(); ++i)
      bytes[i] = static_cast<std::byte>((i * 7 + part.name.size()) & 0xff);
    return bytes;
  }

  static std::string content_of(const std::string& path) {
    std::ifstream file(path, std::ios::binary);
    return {std::istreambuf_iterator<char>(file), {}};
  }
  static void put(const std::string& path, const std::string& content) {
    std::ofstream(path, std::ios::binary | std::ios::trunc) << content;
  }

  // As a back end does that found nothing; whether the parts were kept.
  static bool pack(PackCache& cache, const Parts& parts) {
    EXPECT_TRUE(cache.find(kPacking, parts) == nullptr);
    if (!cache.begin()) return false;
    for (const PreparedPart& part : parts) cache.append(part, bytes_of(part));
    return cache.commit();
  }

  void SetUp() override {
    put(model_, tiny_gguf().build());
    checkpoint_ = open_checkpoint(model_).value();
    set_warning_sink([this](const std::string& message) { warnings_.push_back(message); });
  }
  void TearDown() override {
    set_warning_sink([](const std::string&) {});
  }

  PackCacheSettings settings() const { return {.folder = cache_, .least_bytes = 0}; }
  PackCache cache(const std::string& encoding = "") const {
    return PackCache(settings(), *checkpoint_, encoding);
  }
  bool keep(const std::string& encoding = "", const Parts& parts = two_parts()) const {
    PackCache fresh = cache(encoding);
    return pack(fresh, parts);
  }

  // Whether another loading finds the parts, with the bytes that were kept.
  bool finds(const std::string& encoding = "", const Parts& parts = two_parts(),
             const std::string& packing = kPacking) const {
    PackCache other = cache(encoding);
    const auto found = other.find(packing, parts);
    EXPECT_EQ(other.hit(), found != nullptr);
    if (found == nullptr) return false;
    EXPECT_EQ(found->packing(), packing);
    for (const PreparedPart& part : parts) {
      const Bytes wanted = bytes_of(part);
      const std::byte* const mapped = found->find(part);
      EXPECT_TRUE(mapped != nullptr && std::memcmp(mapped, wanted.data(), wanted.size()) == 0)
          << part.name;
    }
    return true;
  }

  std::vector<std::string> files() const {
    std::vector<std::string> names;
    std::error_code error;
    for (const auto& entry : std::filesystem::directory_iterator(cache_, error))
      names.push_back(entry.path().filename().string());
    return names;
  }
  // Of the only one.
  std::string entry() const {
    EXPECT_EQ(files().size(), 1u);
    return cache_ + "/" + files().at(0);
  }

  TemporaryFolder folder_;
  const std::string model_ = folder_.file("model.gguf");
  std::string cache_ = folder_.file("deep/packed");
  std::unique_ptr<Checkpoint> checkpoint_;
  std::vector<std::string> warnings_;
};

}  // namespace dunlin
