// Kinds of tensors: every name of a reference has one, and a tensor that differs counts against its
// own kind alone.
#include "parity/kinds.h"

#include <gtest/gtest.h>

#include <cstdint>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "golden_models.h"
#include "parity/array_file.h"
#include "parity/parity.h"
#include "support/temporary_folder.h"

namespace dunlin {
namespace {

using Counts = std::map<std::string, std::pair<int64_t, int64_t>>;  // passed, checked

Counts counts_of(const std::vector<ParityRow>& rows) {
  Counts counts;
  for (const KindSummary& each : summarize_kinds(rows))
    counts[each.kind] = {each.passed, each.checked};
  return counts;
}

TEST(ParityKinds, EveryNameOfTheGoldensHasOne) {
  std::vector<std::string> paths;
  for (const std::string& model : committed_models()) paths.push_back(golden_path(model));
  for (const std::string& model : kernel_models()) paths.push_back(golden_path(model));
  for (const std::string& folder : quantized_folders())
    paths.push_back(folder + "/golden.safetensors");
  for (const std::string& path : paths) {
    for (const std::string& name : ArrayFile::open(path).value().names()) {
      if (name == "input_ids") continue;
      EXPECT_NE(parity_kind(name), "other") << path << ": " << name;
    }
  }
}

TEST(ParityKinds, NamesTellWhatATensorIs) {
  EXPECT_EQ(parity_kind("hidden.0"), "embedding");
  EXPECT_EQ(parity_kind("hidden.1"), "residual");
  EXPECT_EQ(parity_kind("hidden.10"), "residual");
  EXPECT_EQ(parity_kind("norm1.3"), "norms");
  EXPECT_EQ(parity_kind("final_norm"), "norms");
  EXPECT_EQ(parity_kind("q.0"), "projections");
  EXPECT_EQ(parity_kind("mlp_out.27"), "projections");
  EXPECT_EQ(parity_kind("router_idx.1"), "router");
  EXPECT_EQ(parity_kind("logits"), "logits");
  EXPECT_EQ(parity_kind("greedy_ids"), "tokens");
  EXPECT_EQ(parity_kind("diff.entropy.s6.ids"), "tokens");
  EXPECT_EQ(parity_kind("fast.dual.nfe"), "tokens");
  EXPECT_EQ(parity_kind("query.0"), "other");
  EXPECT_EQ(parity_kind(""), "other");
}

TEST(ParityKinds, SummariesCountAndKeepTheLargestDifference) {
  const std::vector<ParityRow> rows = {{.name = "logits", .pass = true, .max_abs_diff = 0.25},
                                       {.name = "hidden.0", .pass = true},
                                       {.name = "norm1.0", .pass = true, .max_abs_diff = 0.5},
                                       {.name = "norm2.0", .pass = false, .max_abs_diff = 2},
                                       {.name = "final_norm", .pass = true, .max_abs_diff = 1}};
  const std::vector<KindSummary> summaries = summarize_kinds(rows);
  ASSERT_EQ(summaries.size(), 3u);
  EXPECT_EQ(summaries[0].kind, "embedding");
  EXPECT_EQ(summaries[1].kind, "norms");
  EXPECT_EQ(summaries[1].checked, 3);
  EXPECT_EQ(summaries[1].passed, 2);
  EXPECT_DOUBLE_EQ(summaries[1].share(), 2.0 / 3);
  EXPECT_EQ(summaries[1].max_abs_diff, 2);
  EXPECT_EQ(summaries[2].kind, "logits");
  EXPECT_EQ(summaries[2].max_abs_diff, 0.25);
  EXPECT_TRUE(summarize_kinds({}).empty());
}

class ParityKindsOfAModel : public testing::Test {
 protected:
  // Of dream_plain against its golden, one value of which was moved by `change`.
  Counts compare(const std::string& changed, float change) {
    const auto golden = ArrayFile::open(golden_path("dream_plain")).value();
    std::map<std::string, Array> arrays;
    for (const std::string& name : golden.names()) arrays[name] = golden.read(name).value();
    arrays.at(changed).floats.at(0) += change;
    write_array_file(path_, arrays, golden.metadata()).value();
    const auto report =
        compare_with_reference(model_path("dream_plain", Container::directory), path_,
                               {.backend = "cpu", .threads = 1, .tolerance = 1e-4});
    EXPECT_TRUE(report.ok()) << report.error().message;
    return report.ok() ? counts_of(report->rows) : Counts();
  }

  TemporaryFolder folder_;
  const std::string path_ = folder_.file("golden.safetensors");
};

// Two layers: of each two norms and seven projections.
TEST_F(ParityKindsOfAModel, AllAgreeWithinTheTolerance) {
  const Counts counts = compare("norm1.1", 0.0f);
  const Counts wanted = {{"embedding", {1, 1}}, {"norms", {5, 5}},  {"projections", {14, 14}},
                         {"residual", {2, 2}},  {"logits", {1, 1}}, {"tokens", {35, 35}}};
  EXPECT_EQ(counts, wanted);
}

TEST_F(ParityKindsOfAModel, ATensorThatDiffersCountsAgainstItsKindAlone) {
  Counts counts = compare("norm1.1", 1.0f);
  EXPECT_EQ(counts["norms"], (std::pair<int64_t, int64_t>{4, 5}));
  counts.erase("norms");
  EXPECT_EQ(counts.size(), 5u);
  for (const auto& [kind, both] : counts) EXPECT_EQ(both.first, both.second) << kind;
}

}  // namespace
}  // namespace dunlin
