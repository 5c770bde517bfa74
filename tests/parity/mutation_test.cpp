// A reference that differs must fail, and the report must name the first tensor that differs: a
// comparison that cannot fail proves nothing.
#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <functional>
#include <limits>

#include "golden_models.h"
#include "parity/array_file.h"
#include "parity/parity.h"
#include "support/temporary_folder.h"

namespace dunlin {
namespace {

using Arrays = std::map<std::string, Array>;

constexpr const char* kMutatedModel = "llama_plain";

class Mutation : public testing::Test {
 protected:
  Result<ParityReport> compare(const std::function<void(Arrays&)>& change) {
    const auto golden = ArrayFile::open(golden_path(kMutatedModel)).value();
    Arrays arrays;
    for (const std::string& name : golden.names()) arrays[name] = golden.read(name).value();
    change(arrays);
    write_array_file(path_, arrays).value();
    return compare_with_reference(model_path(kMutatedModel, Container::directory), path_,
                                  {.backend = "reference"});
  }

  // The first failure after `change`, "" when there is none.
  std::string first_failure(const std::function<void(Arrays&)>& change) {
    return compare(change).value().first_failure().value_or("");
  }

  TemporaryFolder folder_;
  const std::string path_ = folder_.file("golden.safetensors");
};

TEST_F(Mutation, TheUnchangedGoldenPasses) {
  EXPECT_EQ(first_failure([](Arrays&) {}), "");
}

TEST_F(Mutation, EveryTensorIsLookedAtElementByElement) {
  const auto golden = ArrayFile::open(golden_path(kMutatedModel)).value();
  for (const std::string& name : golden.names()) {
    if (name == "input_ids" || name == "greedy_ids") continue;
    const std::string failed = first_failure([&name](Arrays& arrays) {
      arrays[name].floats.back() += 1e-3f;  // allowed is 6e-5 times the largest value inside
    });
    EXPECT_EQ(failed, name);
  }
}

TEST_F(Mutation, TheFirstInTheOrderOfComputationIsNamed) {
  const auto change = [](Arrays& arrays) {
    for (const char* name : {"logits", "mlp_out.1", "mlp_out.0", "hidden.1", "hidden.2"})
      arrays[name].floats[3] += 0.5f;
  };
  EXPECT_EQ(first_failure(change), "mlp_out.0");
  const auto report = compare(change).value();
  const auto row = std::ranges::find(report.rows, "mlp_out.0", &ParityRow::name);
  ASSERT_NE(row, report.rows.end());
  EXPECT_NEAR(row->max_abs_diff, 0.5, 1e-3);
  EXPECT_EQ(row->where.rfind("[0,3]: ", 0), 0u) << row->where;
  EXPECT_EQ(report.passed(), static_cast<int64_t>(report.rows.size()) - 5);
}

TEST_F(Mutation, ValuesThatAreNotNumbersFail) {
  for (const float value :
       {std::numeric_limits<float>::quiet_NaN(), std::numeric_limits<float>::infinity()}) {
    const std::string failed =
        first_failure([value](Arrays& arrays) { arrays["hidden.1"].floats[0] = value; });
    EXPECT_EQ(failed, "hidden.1") << value;
  }
}

TEST_F(Mutation, AnotherGreedyIdFails) {
  const auto report = compare([](Arrays& arrays) {
                        auto& ids = arrays["greedy_ids"].integers;
                        ids.back() = ids.back() == 0 ? 1 : 0;
                      }).value();
  EXPECT_EQ(report.first_failure(), "greedy_ids");
}

TEST_F(Mutation, AnotherShapeFails) {
  const auto report = compare([](Arrays& arrays) {
                        Array& norm = arrays["final_norm"];
                        norm.shape = {norm.shape[1], norm.shape[0]};
                      }).value();
  EXPECT_EQ(report.first_failure(), "final_norm");
}

TEST_F(Mutation, IdsOutsideTheVocabularyAreAnError) {
  for (const char* name : {"input_ids", "greedy_ids"}) {
    const auto report = compare([name](Arrays& arrays) { arrays[name].integers[0] = 160; });
    ASSERT_FALSE(report.ok());
    EXPECT_EQ(report.error().kind, ErrorKind::model);
    EXPECT_NE(report.error().message.find(name), std::string::npos) << report.error().message;
    EXPECT_NE(report.error().message.find("160"), std::string::npos) << report.error().message;
  }
}

TEST_F(Mutation, AReferenceWithoutAPromptIsAnError) {
  const auto report = compare([](Arrays& arrays) { arrays.erase("input_ids"); });
  ASSERT_FALSE(report.ok());
  EXPECT_NE(report.error().message.find("input_ids"), std::string::npos) << report.error().message;
}

TEST_F(Mutation, AReferenceThatHoldsNothingToCompareIsAnError) {
  const auto report = compare([](Arrays& arrays) {
    Arrays kept;
    kept["input_ids"] = arrays["input_ids"];
    kept["hiden.0"] = arrays["hidden.0"];
    arrays = kept;
  });
  ASSERT_FALSE(report.ok());
  EXPECT_EQ(report.error().kind, ErrorKind::model);
  EXPECT_NE(report.error().message.find("hiden.0"), std::string::npos) << report.error().message;
}

TEST_F(Mutation, UnknownTensorsAreReported) {
  const auto report =
      compare([](Arrays& arrays) { arrays["router_w.0"] = arrays["hidden.0"]; }).value();
  EXPECT_TRUE(report.pass());
  EXPECT_EQ(report.ignored, std::vector<std::string>{"router_w.0"});
}

TEST_F(Mutation, ADumpHoldsTheEnginesOwnValues) {
  const std::string dump = folder_.file("dump.safetensors");
  const auto options = ParityOptions{.backend = "reference", .dump = dump};
  const std::string model = model_path(kMutatedModel, Container::directory);
  ASSERT_TRUE(compare_with_reference(model, golden_path(kMutatedModel), options).ok());
  const auto ours = ArrayFile::open(dump).value();
  const auto golden = ArrayFile::open(golden_path(kMutatedModel)).value();
  EXPECT_EQ(ours.read("logits").value().shape, golden.read("logits").value().shape);
  EXPECT_EQ(ours.read("greedy_ids").value().integers, golden.read("greedy_ids").value().integers);
}

TEST_F(Mutation, ADumpReplacesAnOlderDumpAndNothingElse) {
  namespace fs = std::filesystem;
  const fs::path folder = folder_.path();
  fs::copy(model_path(kMutatedModel, Container::directory), folder / "model");
  fs::copy(model_path(kMutatedModel, Container::gguf), folder / "model.gguf");
  fs::copy(golden_path(kMutatedModel), folder / "golden.safetensors");
  fs::copy(golden_path(kMutatedModel), folder / "other.safetensors");
  const auto dump_to = [&](const std::string& name, const std::string& model) {
    return compare_with_reference(folder / model, folder / "golden.safetensors",
                                  {.backend = "reference", .dump = folder / name});
  };
  for (const char* name : {"model.gguf", "model/model.safetensors", "model/config.json", "model",
                           "golden.safetensors", "other.safetensors"}) {
    const auto before = fs::is_directory(folder / name) ? 0 : fs::file_size(folder / name);
    for (const char* model : {"model", "model.gguf"}) {
      const auto report = dump_to(name, model);
      ASSERT_FALSE(report.ok()) << name;
      EXPECT_EQ(report.error().kind, ErrorKind::usage);
      EXPECT_NE(report.error().message.find(folder / name), std::string::npos);
    }
    EXPECT_EQ(fs::is_directory(folder / name) ? 0 : fs::file_size(folder / name), before);
  }
  EXPECT_TRUE(dump_to("dump.safetensors", "model").ok());
  EXPECT_TRUE(dump_to("dump.safetensors", "model.gguf").ok());
}

TEST_F(Mutation, APromptAloneIsEnoughForADumpThatIsAReference) {
  const std::string prompt = folder_.file("prompt.safetensors");
  const std::string dump = folder_.file("dump.safetensors");
  const auto golden = ArrayFile::open(golden_path(kMutatedModel)).value();
  ASSERT_TRUE(write_array_file(prompt, {{"input_ids", golden.read("input_ids").value()}}).ok());
  const std::string model = model_path(kMutatedModel, Container::directory);
  EXPECT_FALSE(compare_with_reference(model, prompt, {.backend = "reference"}).ok());
  ASSERT_TRUE(compare_with_reference(model, prompt, {.backend = "reference", .dump = dump}).ok());
  EXPECT_FALSE(ArrayFile::open(dump).value().has("greedy_ids"));
  const auto report = compare_with_reference(model, dump, {.backend = "cpu"});
  ASSERT_TRUE(report.ok()) << report.error().message;
  EXPECT_TRUE(report->pass());
  EXPECT_EQ(report->rows.size(), 1u);
}

}  // namespace
}  // namespace dunlin
