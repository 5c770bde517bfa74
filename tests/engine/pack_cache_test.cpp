// Models from the pack cache: the bits are those of the model that was packed, whatever is in the cache.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

#include "base/log.h"
#include "engine/model.h"
#include "engine_driver.h"
#include "parity/parity.h"
#include "support/conversion.h"
#include "support/faulty_disk.h"
#include "support/saved_environment.h"
#include "support/temporary_folder.h"

namespace dunlin {
namespace {

namespace fs = std::filesystem;
using testing::ElementsAre;
using testing::HasSubstr;
using Ids = std::vector<int32_t>;

class PackedModel : public testing::Test {
 protected:
  void SetUp() override {
    fs::copy(tiny_model_path("llama_plain"), model_);
    // Of these models without a tokenizer nothing else is of interest.
    set_warning_sink([this](const std::string& message) {
      if (message.starts_with("packed weights")) warnings_.push_back(message);
    });
  }
  void TearDown() override {
    set_warning_sink([](const std::string&) {});
  }

  PackCacheSettings settings() const { return {.folder = cache_, .least_bytes = 0}; }
  std::unique_ptr<Model> load(ModelOptions options = {}) const {
    options.pack_cache = settings();
    options.context = 64;
    if (options.threads == 0) options.threads = 2;
    auto model = load_model(model_, options);
    EXPECT_TRUE(model.ok()) << model.error().message;
    return std::move(model).value();
  }
  // Loads it, and says whether it had been packed before.
  bool hits(const ModelOptions& options = {}) const { return load(options)->packed_before; }

  static Ids ids_of(std::unique_ptr<Model> model) {
    EngineDriver driver(std::move(model));
    return driver.answer(greedy(random_prompt(9, 1), 8)).ids;
  }

  // Every value of a golden's prompt and continuation, as a file.
  std::string values(const std::string& name, const PackCacheSettings& cache,
                     LoadMode mode = LoadMode::automatic, bool offload = false) const {
    const std::string dump = folder_.file("dump.safetensors");
    const std::string data = std::string(DUNLIN_SOURCE_DIR) + "/tests/data/" + name;
    const auto report = compare_with_reference(data + "/model", data + "/golden.safetensors",
                                               {.precision = Precision::automatic,
                                                .load_mode = mode,
                                                .pack_cache = cache,
                                                .offload = offload,
                                                .threads = 2,
                                                .dump = dump});
    EXPECT_TRUE(report.ok()) << report.error().message;
    return content_of(dump);
  }

  std::vector<fs::path> entries() const {
    std::vector<fs::path> paths;
    std::error_code error;
    for (const auto& entry : fs::directory_iterator(cache_, error)) paths.push_back(entry.path());
    return paths;
  }

  // Whether this process has an entry of the cache mapped.
  bool maps_an_entry() const {
    return content_of("/proc/self/maps").find(cache_ + "/") != std::string::npos;
  }

  TemporaryFolder folder_;
  // As the system lists what is mapped.
  const std::string root_ = fs::canonical(folder_.path()).string();
  const std::string model_ = root_ + "/model";
  const std::string cache_ = root_ + "/packed";
  std::vector<std::string> warnings_;
};

TEST_F(PackedModel, EveryValueHasTheSameBits) {
  for (const char* name : {"llama_plain", "qwen2_tied", "gpt_oss_mxfp4", "gpt_oss_bf16"}) {
    const std::string wanted = values(name, {});
    ASSERT_GT(wanted.size(), 1000u) << name;
    EXPECT_TRUE(values(name, settings()) == wanted) << name;
    for (const LoadMode mode : {LoadMode::automatic, LoadMode::copy, LoadMode::mmap})
      EXPECT_TRUE(values(name, settings(), mode) == wanted) << name;
    ASSERT_EQ(entries().size(), 1u) << name;  // of one key
    fs::remove_all(cache_);
  }
  EXPECT_THAT(warnings_, testing::IsEmpty());
}

TEST_F(PackedModel, ASecondLoadingFindsWhatTheFirstKept) {
  const Ids wanted = ids_of(load_model(model_, {.context = 64}).value());
  auto first = load();
  EXPECT_FALSE(first->packed_before);
  EXPECT_THAT(first->pack_notes, ElementsAre(HasSubstr("MB are written to " + cache_)));
  EXPECT_EQ(ids_of(std::move(first)), wanted);
  EXPECT_EQ(entries().size(), 1u);  // the end of the model waited for it
  // Neither threads nor instruction set play a part, nor a profile that packs the same.
  for (const ModelOptions& options :
       {ModelOptions{}, ModelOptions{.threads = 1}, ModelOptions{.isa = "scalar"},
        ModelOptions{.precision = Precision::exact}}) {
    auto second = load(options);
    EXPECT_TRUE(second->packed_before);
    EXPECT_THAT(second->pack_notes, ElementsAre(HasSubstr("from " + cache_)));
    if (options.precision == Precision::automatic) {
      EXPECT_EQ(ids_of(std::move(second)), wanted);
    }
  }
  EXPECT_EQ(entries().size(), 1u);
}

TEST_F(PackedModel, OtherLayersAndTypesAreOtherEntries) {
  EXPECT_FALSE(hits());
  const ModelOptions others[] = {{.layers = 1},
                                 {.quantize = "Q8_0"},
                                 {.quantize = "Q4_0"},
                                 {.precision = Precision::fast, .quantize = "Q8_0"}};
  size_t count = 1;
  for (const ModelOptions& options : others) {
    auto plain = options;
    plain.context = 64;
    const Ids wanted = ids_of(load_model(model_, plain).value());
    EXPECT_FALSE(hits(options)) << options.quantize;
    EXPECT_EQ(entries().size(), ++count);
    auto again = load(options);
    EXPECT_TRUE(again->packed_before) << options.quantize;
    EXPECT_EQ(ids_of(std::move(again)), wanted) << options.quantize;
  }
  EXPECT_TRUE(hits());
}

TEST_F(PackedModel, AFileThatChangedIsPackedAgain) {
  EXPECT_FALSE(hits());
  const std::string file = model_ + "/model.safetensors";
  fs::last_write_time(file, fs::last_write_time(file) + std::chrono::seconds(1));
  EXPECT_FALSE(hits());
  EXPECT_TRUE(hits());
}

TEST_F(PackedModel, MappingIsForThoseWhoAskAndForLargeOnes) {
  for (const LoadMode mode : {LoadMode::automatic, LoadMode::copy}) {
    const auto first = load({.load_mode = mode});
    if (first->pack_cache != nullptr) first->pack_cache->finish();
    const auto second = load({.load_mode = mode});
    EXPECT_TRUE(second->packed_before);
    EXPECT_FALSE(maps_an_entry());  // it is small
  }
  fs::remove_all(cache_);
  const Ids wanted = ids_of(load());
  fs::remove_all(cache_);
  for (const bool before : {false, true}) {
    auto model = load({.load_mode = LoadMode::mmap});
    EXPECT_EQ(model->packed_before, before);
    EXPECT_TRUE(maps_an_entry());
    EXPECT_EQ(ids_of(std::move(model)), wanted);
    EXPECT_FALSE(maps_an_entry());
  }
}

// Packed into the cache at once or a piece at a time, the entry is the same file.
TEST_F(PackedModel, OffloadMapsWhatIsKeptOrKeepsIt) {
  for (const char* name : {"llama_plain", "gpt_oss_mxfp4", "gpt_oss_merged"}) {
    const std::string wanted = values(name, settings());
    ASSERT_EQ(entries().size(), 1u) << name;
    const std::string entry = content_of(entries()[0]);
    for (const char* budget : {"0", "100K"}) {
      const SavedEnvironment environment("DUNLIN_MEMORY_BUDGET", budget);
      EXPECT_TRUE(values(name, settings(), LoadMode::automatic, true) == wanted) << name;
      fs::remove_all(cache_);
      EXPECT_TRUE(values(name, settings(), LoadMode::automatic, true) == wanted) << name;
      ASSERT_EQ(entries().size(), 1u) << name;
      EXPECT_TRUE(content_of(entries()[0]) == entry) << name;
    }
    fs::remove_all(cache_);
  }
  EXPECT_THAT(warnings_, testing::IsEmpty());
}

// Small weights too, and whatever the mode is that the benches choose.
TEST_F(PackedModel, OffloadMapsTheEntryFromTheFirstLoadingOn) {
  const Ids wanted = ids_of(load_model(model_, {.context = 64}).value());
  for (const bool before : {false, true}) {
    const ModelOptions options{.load_mode = LoadMode::copy,
                               .pack_cache = {.folder = cache_},
                               .offload = true,
                               .threads = 2,
                               .context = 64};
    auto model = load_model(model_, options).value();
    EXPECT_EQ(model->packed_before, before);
    EXPECT_TRUE(model->executable->offload().has_value());
    EXPECT_TRUE(maps_an_entry());
    EXPECT_EQ(ids_of(std::move(model)), wanted);
    EXPECT_FALSE(maps_an_entry());
  }
}

TEST_F(PackedModel, OffloadNeedsAPlaceForWhatItPacks) {
  const auto refusal = [this](PackCacheSettings cache) {
    const auto model =
        load_model(model_, {.pack_cache = std::move(cache), .offload = true, .threads = 2});
    EXPECT_FALSE(model.ok());
    if (model.ok()) return std::string();
    EXPECT_EQ(model.error().kind, ErrorKind::usage);
    EXPECT_THAT(model.error().message, HasSubstr("`dunlin convert " + model_ + " OUT --to prep"));
    EXPECT_TRUE(entries().empty());
    return model.error().message;
  };
  EXPECT_THAT(refusal({}), HasSubstr("packed while they are loaded and cannot be mapped"));
  EXPECT_THAT(refusal({.folder = cache_, .most_bytes = 1000}),
              HasSubstr("are more than the 0.0 MB that are kept"));
  EXPECT_THAT(warnings_, testing::IsEmpty());
  for (const int64_t room : {10, 1000, 50'000}) {
    const FaultyDisk disk({.room = room});
    EXPECT_THAT(refusal(settings()), HasSubstr("No space left on device")) << room;
  }
  put(cache_ + ".txt", "a file");
  EXPECT_THAT(refusal({.folder = cache_ + ".txt"}), HasSubstr(cache_ + ".txt"));
}

// What is to be mapped is kept though it is small, and other small weights are not.
TEST_F(PackedModel, SmallWeightsAreKeptWhereTheyAreToBeMapped) {
  ModelOptions options{.pack_cache = {.folder = cache_}, .context = 64};
  EXPECT_FALSE(load_model(model_, options).value()->packed_before);
  EXPECT_TRUE(entries().empty());
  options.load_mode = LoadMode::mmap;
  EXPECT_TRUE(load_model(model_, options).ok());
  EXPECT_EQ(entries().size(), 1u);
}

// What is compared with is not worth the disk, unless it is to be mapped.
TEST_F(PackedModel, WithoutPrecisionNothingIsKept) {
  const ModelOptions options{.disabled = {"precision"}};
  EXPECT_FALSE(hits(options));
  EXPECT_FALSE(hits(options));
  EXPECT_TRUE(entries().empty());
  const ModelOptions mapped{.load_mode = LoadMode::mmap, .disabled = {"precision"}};
  EXPECT_FALSE(hits(mapped));
  EXPECT_TRUE(hits(mapped));
  EXPECT_EQ(entries().size(), 1u);
}

TEST_F(PackedModel, ADamagedEntryIsPackedAgain) {
  const Ids wanted = ids_of(load());
  ASSERT_EQ(entries().size(), 1u);
  const fs::path path = entries()[0];
  const std::string good = content_of(path);
  const auto flipped = [&good](size_t at) {
    std::string bad = good;
    bad[at] = static_cast<char>(bad[at] ^ 1);
    return bad;
  };
  // Header, version, weights, table, end.
  for (const std::string& bad : {flipped(0), flipped(8), flipped(good.size() / 2),
                                 flipped(good.size() - 40), good.substr(0, good.size() / 2)}) {
    put(path, bad);
    auto model = load();
    EXPECT_FALSE(model->packed_before);
    EXPECT_THAT(model->pack_notes, testing::Contains(HasSubstr("packed again: " + path.string())));
    EXPECT_EQ(ids_of(std::move(model)), wanted);
    EXPECT_TRUE(content_of(path) == good);
    EXPECT_TRUE(hits());
  }
  EXPECT_THAT(warnings_, testing::IsEmpty());
}

// The weights are those of the entry indeed: where nobody compares them, others give other values.
TEST_F(PackedModel, MappedWeightsAreNotCompared) {
  const std::string wanted = values("llama_plain", settings());
  ASSERT_EQ(entries().size(), 1u);
  std::string bad = content_of(entries()[0]);
  for (size_t i = 0; i < 4096; ++i)
    bad[bad.size() / 2 + i] = static_cast<char>(bad[bad.size() / 2 + i] ^ 1);
  put(entries()[0], bad);
  EXPECT_FALSE(values("llama_plain", settings(), LoadMode::mmap) == wanted);
  EXPECT_TRUE(values("llama_plain", settings(), LoadMode::copy) == wanted);
  EXPECT_TRUE(values("llama_plain", settings(), LoadMode::mmap) == wanted);
}

TEST_F(PackedModel, AFullDiskIsAWarningAndTheModelIsThere) {
  const Ids wanted = ids_of(load_model(model_, {.context = 64}).value());
  for (const LoadMode mode : {LoadMode::automatic, LoadMode::mmap}) {
    for (const int64_t room : {10, 1000, 50'000}) {
      warnings_.clear();
      std::unique_ptr<Model> model;
      {
        const FaultyDisk disk({.room = room});
        model = load({.load_mode = mode});
        model->pack_cache->finish();
      }
      EXPECT_THAT(warnings_, ElementsAre(HasSubstr("No space left on device"))) << room;
      EXPECT_TRUE(entries().empty()) << room;
      EXPECT_EQ(ids_of(std::move(model)), wanted) << room;
    }
  }
  EXPECT_FALSE(hits());
  EXPECT_TRUE(hits());
}

// The disk waits until the model has answered.
TEST_F(PackedModel, AnswersBeforeItsWeightsAreOnDisk) {
  const Ids wanted = ids_of(load_model(model_, {.context = 64}).value());
  std::atomic<bool> open = false;
  const FaultyDisk disk({.before = [&open](std::string_view) {
    while (!open) std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }});
  auto model = load();
  const auto cache = model->pack_cache;
  ASSERT_NE(cache, nullptr);
  EXPECT_EQ(ids_of(std::move(model)), wanted);  // the cache is ours, too, so nobody has waited yet
  for (const fs::path& entry : entries()) EXPECT_EQ(entry.extension(), ".tmp");
  open = true;
  cache->finish();
  EXPECT_EQ(entries().size(), 1u);
  EXPECT_TRUE(hits());
  EXPECT_THAT(warnings_, testing::IsEmpty());
}

TEST_F(PackedModel, WhoMeasuresWaitsFirst) {
  const auto model = load({.kept_first = true});
  EXPECT_THAT(model->pack_notes, testing::Contains(HasSubstr("kept in " + cache_)));
  EXPECT_EQ(entries().size(), 1u);
  EXPECT_TRUE(entries()[0].string().ends_with(".packed"));
}

// As Ctrl-C has it.
TEST_F(PackedModel, AModelThatIsEndedAtOnceLeavesNothing) {
  const Ids wanted = ids_of(load_model(model_, {.context = 64}).value());
  std::atomic<bool> open = false;
  const FaultyDisk disk({.before = [&open](std::string_view) {
    while (!open) std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }});
  PackCacheSettings dropping = settings();
  int asked = 0;
  dropping.still_waits = [&open, &asked] {
    if (++asked == 2) open = true;  // it was stopped by the first answer
    return false;
  };
  const ModelOptions options{.pack_cache = dropping, .threads = 2, .context = 64};
  EXPECT_EQ(ids_of(load_model(model_, options).value()), wanted);
  EXPECT_TRUE(entries().empty());
  EXPECT_THAT(warnings_, testing::IsEmpty());
}

TEST_F(PackedModel, AFolderThatCannotBeMadeIsAWarningAndTheModelIsThere) {
  put(cache_, "a file");
  EXPECT_FALSE(hits());
  EXPECT_THAT(warnings_, ElementsAre(HasSubstr("packed weights are not kept: " + cache_)));
}

// A loading that ends with an error leaves nothing.
TEST_F(PackedModel, AModelThatCannotBeReadIsNotKept) {
  const std::string file = model_ + "/model.safetensors";
  int reports = 0;
  ModelOptions options{.pack_cache = settings(), .threads = 2, .context = 64};
  options.progress = [&](double, const std::string&) {
    // Shorter, once its headers were read and some of its weights were packed.
    if (++reports == 8) fs::resize_file(file, 2000);
  };
  const auto model = load_model(model_, options);
  ASSERT_FALSE(model.ok());
  EXPECT_THAT(model.error().message, HasSubstr("model.safetensors"));
  EXPECT_TRUE(entries().empty());
}

TEST_F(PackedModel, OnlyTheCpuPacks) {
  EXPECT_FALSE(hits({.backend = "reference"}));
  EXPECT_TRUE(entries().empty());
  const auto mapped = load_model(
      model_, {.backend = "reference", .load_mode = LoadMode::mmap, .pack_cache = settings()});
  ASSERT_FALSE(mapped.ok());
  EXPECT_EQ(mapped.error().kind, ErrorKind::usage);
}

}  // namespace
}  // namespace dunlin
