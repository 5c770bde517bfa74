// Offload without prepared weights: they are packed into a store and mapped from there, or the compilation
// ends.
#include <gtest/gtest.h>

#include <cstddef>
#include <cstring>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "backend/cpu/cpu_backend.h"
#include "tiny_mapped_weights.h"
#include "tiny_model.h"

namespace dunlin::cpu {
namespace {

enum class Refusal { none, begin, append, commit, find };

// Gives weights that were packed elsewhere, once it was given all of the same ones.
class WatchedStore final : public PackedWeightStore {
 public:
  WatchedStore(std::shared_ptr<const TinyMappedWeights> weights, Refusal refusal)
      : weights_(std::move(weights)), refusal_(refusal) {}

  std::shared_ptr<const PreparedWeights> find(const std::string& packing,
                                              const std::vector<PreparedPart>& parts) override {
    EXPECT_EQ(packing, weights_->packing());
    parts_ = parts;
    if (!committed_ || refusal_ == Refusal::find) return nullptr;
    return weights_;
  }
  void refuse(const Error& why) override { ADD_FAILURE() << why.message; }
  bool begin() override { return refusal_ != Refusal::begin; }
  bool append(const PreparedPart& part, std::span<const std::byte> bytes) override {
    ++appends_;
    auto& given = given_[part.name];
    given.insert(given.end(), bytes.begin(), bytes.end());
    return refusal_ != Refusal::append;
  }
  bool commit() override {
    committed_ = refusal_ != Refusal::commit;
    return committed_;
  }
  void keep_later(std::vector<PackedPart> /*parts*/,
                  std::shared_ptr<const void> /*memory*/) override {
    ADD_FAILURE() << "what is mapped must be whole first";
  }
  Error not_kept() const override { return usage_error("the store refuses"); }

  void expect_all_parts() const {
    EXPECT_EQ(given_.size(), parts_.size());
    for (const PreparedPart& part : parts_) {
      const auto given = given_.find(part.name);
      ASSERT_NE(given, given_.end()) << part.name;
      ASSERT_EQ(given->second.size(), part.bytes) << part.name;
      const std::byte* const wanted = weights_->find(part);
      ASSERT_NE(wanted, nullptr) << part.name;
      EXPECT_EQ(std::memcmp(given->second.data(), wanted, part.bytes), 0) << part.name;
    }
  }
  int appends() const { return appends_; }
  bool committed() const { return committed_; }

 private:
  std::shared_ptr<const TinyMappedWeights> weights_;
  Refusal refusal_;
  std::vector<PreparedPart> parts_ = {};
  std::map<std::string, std::vector<std::byte>> given_ = {};
  int appends_ = 0;
  bool committed_ = false;
};

CompileOptions stored_options(std::shared_ptr<WatchedStore> store) {
  CompileOptions options = tiny_options(Precision::automatic, 2);
  options.store = std::move(store);
  options.load_mode = LoadMode::mmap;
  options.offload.on = true;
  return options;
}

TEST(OffloadedStore, IsGivenWhatItLacksAndThenMapped) {
  const auto backend = make_cpu_backend();
  for (const auto& [family, format] :
       {std::pair("llama", "mixed"), std::pair("qwen2", "BF16"), std::pair("gpt_oss", "Q8_0")}) {
    const TinyModel model = tiny_model(family, format);
    TinySession whole(*backend, model, tiny_options(Precision::automatic, 2));
    const auto wanted = prompt_and_decode(whole, 0, 20, 16, 4);
    const auto weights = TinyMappedWeights::create(*backend, model, Precision::automatic);
    const auto store = std::make_shared<WatchedStore>(weights, Refusal::none);
    const MemoryBudget budget("300K");
    int appends = 0;
    for (const bool kept : {false, true}) {
      TinySession session(*backend, model, stored_options(store));
      EXPECT_TRUE(session.executable().offload().has_value()) << family;
      EXPECT_TRUE(prompt_and_decode(session, 0, 20, 16, 4) == wanted) << family;
      if (!kept) appends = store->appends();
    }
    EXPECT_EQ(store->appends(), appends) << family;  // the second one found them
    store->expect_all_parts();
    EXPECT_EQ(weights->read_aheads(), 0) << family;
  }
}

// Nothing is packed into memory instead.
TEST(OffloadedStore, ThatKeepsNothingIsAnError) {
  const auto backend = make_cpu_backend();
  const TinyModel model = tiny_model("llama", "Q8_0");
  const auto weights = TinyMappedWeights::create(*backend, model, Precision::automatic);
  for (const Refusal refusal : {Refusal::begin, Refusal::append, Refusal::commit, Refusal::find}) {
    const auto store = std::make_shared<WatchedStore>(weights, refusal);
    const auto compiled = backend->compile(model.program, model.weights, stored_options(store));
    ASSERT_FALSE(compiled.ok());
    EXPECT_EQ(compiled.error().kind, ErrorKind::usage);
    EXPECT_EQ(compiled.error().message, "the store refuses");
    // It ends with the first piece that the store refuses.
    if (refusal == Refusal::begin) {
      EXPECT_EQ(store->appends(), 0);
    } else if (refusal == Refusal::append) {
      EXPECT_EQ(store->appends(), 1);
    }
  }
}

// A budget that is no size is told before anything is packed.
TEST(OffloadedStore, IsNotGivenAnythingWithAWrongBudget) {
  const auto backend = make_cpu_backend();
  const TinyModel model = tiny_model("llama", "Q8_0");
  const auto weights = TinyMappedWeights::create(*backend, model, Precision::automatic);
  const auto store = std::make_shared<WatchedStore>(weights, Refusal::none);
  const MemoryBudget wrong("much");
  const auto compiled = backend->compile(model.program, model.weights, stored_options(store));
  ASSERT_FALSE(compiled.ok());
  EXPECT_NE(compiled.error().message.find("DUNLIN_MEMORY_BUDGET"), std::string::npos);
  EXPECT_EQ(store->appends(), 0);
  EXPECT_FALSE(store->committed());
}

}  // namespace
}  // namespace dunlin::cpu
