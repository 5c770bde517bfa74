#include "cli/options.h"

#include <gtest/gtest.h>

#include <optional>
#include <string>
#include <utility>

#include "cli/kv_type_flags.h"
#include "cli/sampling_flags.h"

namespace dunlin {
namespace {

TEST(ParseSize, TakesSuffixesAndAuto) {
  EXPECT_EQ(parse_size("-c", "auto").value(), 0);
  EXPECT_EQ(parse_size("-c", "4096").value(), 4096);
  EXPECT_EQ(parse_size("-c", "32k").value(), 32768);
  EXPECT_EQ(parse_size("-c", "2K").value(), 2048);
  EXPECT_EQ(parse_size("-c", "1M").value(), 1 << 20);
}

TEST(ParseSize, RefusesTheRest) {
  for (const char* text : {"", "k", "12x", "12kk", "-1", "1.5k", "99999999999", "auto2", " 1"}) {
    const auto size = parse_size("--ctx-size", text);
    ASSERT_FALSE(size.ok()) << text;
    EXPECT_EQ(size.error().kind, ErrorKind::usage);
    EXPECT_NE(size.error().message.find("--ctx-size"), std::string::npos);
  }
}

TEST(BatchFlags, TheSmallerOfTheLogicalAndThePhysicalStepCounts) {
  EXPECT_EQ(BatchFlags{}.rows(), 512);
  EXPECT_EQ((BatchFlags{.batch = 64}).rows(), 64);
  EXPECT_EQ((BatchFlags{.batch = 2048}).rows(), 512);
  EXPECT_EQ((BatchFlags{.batch = std::nullopt, .ubatch = 4096}).rows(), 4096);
  EXPECT_EQ((BatchFlags{.batch = 2048, .ubatch = 4096}).rows(), 2048);
}

TEST(EnvironmentName, IsTheFlagInCapitals) {
  EXPECT_EQ(environment_name("max-tokens"), "DUNLIN_ARG_MAX_TOKENS");
  EXPECT_EQ(environment_name("top-k"), "DUNLIN_ARG_TOP_K");
}

TEST(ParsePrecision, KnowsTheProfiles) {
  EXPECT_EQ(parse_precision("auto").value(), Precision::automatic);
  EXPECT_EQ(parse_precision("exact").value(), Precision::exact);
  EXPECT_EQ(parse_precision("int8").value(), Precision::int8);
  EXPECT_EQ(parse_precision("fast").value(), Precision::fast);
  EXPECT_EQ(parse_precision("f32").value(), Precision::f32);
  EXPECT_EQ(parse_precision("f16").error().kind, ErrorKind::usage);
}

Result<std::optional<KvType>> asked_kv_type(const char* keys, const char* values,
                                            const char* both = "auto") {
  KvTypeFlags flags;
  flags.keys = keys;
  flags.values = values;
  flags.both = both;
  return flags.type();
}

TEST(KvTypeFlags, KeysAndValuesAreOfOneType) {
  EXPECT_FALSE(asked_kv_type("auto", "auto").value().has_value());
  EXPECT_EQ(asked_kv_type("int8", "int8").value(), KvType::int8);
  EXPECT_EQ(asked_kv_type("auto", "auto", "f32").value(), KvType::f32);
  // A stronger layer's flag for both leaves none of a weaker one's.
  EXPECT_EQ(asked_kv_type("bf16", "auto", "int8").value(), KvType::int8);
  for (const auto& [keys, values] :
       {std::pair("int8", "auto"), std::pair("auto", "int8"), std::pair("bf16", "int8")}) {
    const auto refused = asked_kv_type(keys, values);
    ASSERT_FALSE(refused.ok()) << keys << " and " << values;
    EXPECT_EQ(refused.error().kind, ErrorKind::usage);
    EXPECT_NE(refused.error().message.find(keys), std::string::npos);
    EXPECT_NE(refused.error().message.find("--kv-cache-dtype"), std::string::npos);
  }
  EXPECT_EQ(asked_kv_type("q8_0", "q8_0").error().kind, ErrorKind::usage);
}

TEST(SamplingFlags, AFlagWinsOverTheModelsConfigurationOverTheBuiltInValue) {
  Metadata config;
  config.set("generation.temperature", 0.6);
  config.set("generation.top_k", int64_t{7});
  SamplingFlags flags;
  flags.temperature = 0.25f;
  flags.seed = 11;
  flags.logit_bias = {"5-1.5", "6+2"};
  const SamplingParams params = flags.params(config).value();
  EXPECT_EQ(params.temperature, 0.25f);
  EXPECT_EQ(params.top_k, 7);
  EXPECT_EQ(params.top_p, SamplingParams{}.top_p);
  EXPECT_EQ(params.seed, 11u);
  const std::vector<std::pair<int32_t, float>> bias = {{5, -1.5f}, {6, 2.0f}};
  EXPECT_EQ(params.logit_bias, bias);
}

}  // namespace
}  // namespace dunlin
