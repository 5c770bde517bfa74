// The loops of a reference: parameters come from its metadata or from flags, a decision that differs
// fails, and metadata that is missing or wrong is named.
#include "parity/diffusion_parity.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <functional>

#include "golden_models.h"
#include "parity/array_file.h"
#include "parity/parity.h"
#include "support/temporary_folder.h"

namespace dunlin {
namespace {

using testing::HasSubstr;
using Arrays = std::map<std::string, Array>;
using Texts = std::map<std::string, std::string>;

constexpr const char* kModel = "dream_plain";

class DiffusionParity : public testing::Test {
 protected:
  Result<ParityReport> compare(const std::function<void(Arrays&, Texts&)>& change,
                               const DiffusionOverrides& overrides = {}) {
    const auto golden = ArrayFile::open(golden_path(kModel)).value();
    Arrays arrays;
    for (const std::string& name : golden.names()) {
      if (name == "input_ids" || name.starts_with("diff.") || name.starts_with("fast."))
        arrays[name] = golden.read(name).value();
    }
    Texts metadata = golden.metadata();
    change(arrays, metadata);
    write_array_file(path_, arrays, metadata).value();
    return compare_with_reference(model_path(kModel, Container::directory), path_,
                                  {.backend = "cpu", .threads = 1, .diffusion = overrides});
  }

  std::string error(const std::function<void(Arrays&, Texts&)>& change) {
    const auto report = compare(change);
    EXPECT_FALSE(report.ok());
    return report.ok() ? "" : report.error().message;
  }

  TemporaryFolder folder_;
  const std::string path_ = folder_.file("golden.safetensors");
};

TEST_F(DiffusionParity, EveryLoopIsComputed) {
  const auto report = compare([](Arrays&, Texts&) {});
  ASSERT_TRUE(report.ok()) << report.error().message;
  EXPECT_TRUE(report->pass()) << *report->first_failure();
  // 3 algorithms at 3 numbers of steps, with their history and counts; 4 loops of Fast-dLLM.
  EXPECT_EQ(report->rows.size(), 3u * 3 * 3 + 4 * 2);
}

TEST_F(DiffusionParity, ADecisionThatDiffersFails) {
  for (const char* name :
       {"diff.entropy.s12.ids", "diff.topk_margin.s6.history", "diff.maskgit_plus.s24.ntrans",
        "fast.dual.ids", "fast.prefix.nfe", "fast.nocache.nfe", "fast.refreshed.ids"}) {
    const auto report = compare([name](Arrays& arrays, Texts&) {
      ASSERT_TRUE(arrays.contains(name)) << name;
      ++arrays[name].integers.back();
    });
    ASSERT_TRUE(report.ok()) << report.error().message;
    EXPECT_EQ(report->first_failure(), name);
  }
}

TEST_F(DiffusionParity, FlagsOverrideTheMetadata) {
  const auto nothing = [](Arrays&, Texts&) {};
  // A threshold of 0 takes all tokens of a block in its second pass.
  const auto report = compare(nothing, {.threshold = 0.0f});
  ASSERT_TRUE(report.ok());
  EXPECT_FALSE(report->pass());
  EXPECT_THAT(*report->first_failure(), HasSubstr("fast."));
  const auto schedule = compare(nothing, {.eps = 0.9});
  ASSERT_TRUE(schedule.ok());
  EXPECT_THAT(schedule->first_failure().value_or(""), HasSubstr("diff."));
}

TEST_F(DiffusionParity, MetadataThatIsMissingOrWrongIsNamed) {
  for (const char* key : {"prompt_tokens", "max_new_tokens", "mask_token_id", "diff_eps",
                          "block_length", "threshold", "fast_steps"}) {
    EXPECT_THAT(error([key](Arrays&, Texts& texts) { texts.erase(key); }),
                HasSubstr(std::string("__metadata__.") + key + " is missing"));
    EXPECT_THAT(
        error([key](Arrays&, Texts& texts) { texts[key] = "12x"; }),
        HasSubstr(std::string("__metadata__.") + key + " is \"12x\", which is not a number"));
  }
  EXPECT_THAT(error([](Arrays&, Texts& texts) { texts["prompt_tokens"] = "10"; }),
              HasSubstr("prompt_tokens 10 and max_new_tokens 24 are not the 33 of input_ids"));
  for (const char* outside : {"160", "-1"}) {
    EXPECT_THAT(error([outside](Arrays&, Texts& texts) { texts["mask_token_id"] = outside; }),
                HasSubstr(std::string("mask_token_id is ") + outside + ", outside 0..159"));
  }
  EXPECT_THAT(error([](Arrays&, Texts& texts) { texts["block_length"] = "0"; }),
              HasSubstr("block_length is 0"));
}

TEST_F(DiffusionParity, LoopsOfOtherNamesAreToldAsIgnored) {
  const auto report = compare([](Arrays& arrays, Texts&) {
    arrays["diff.origin.s4.ids"] = arrays["input_ids"];
    arrays["diff.entropy.sx.ids"] = arrays["input_ids"];
  });
  ASSERT_TRUE(report.ok());
  EXPECT_TRUE(report->pass());
  EXPECT_EQ(report->ignored,
            (std::vector<std::string>{"diff.entropy.sx.ids", "diff.origin.s4.ids"}));
}

}  // namespace
}  // namespace dunlin
