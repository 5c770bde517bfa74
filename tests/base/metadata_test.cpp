// Metadata: typed reads name the file, the key and the value.
#include "base/metadata.h"

#include <gtest/gtest.h>

#include <limits>

namespace dunlin {
namespace {

TEST(Metadata, IntegerAcceptsIntegralDoubleAndChecksRange) {
  Metadata metadata("config.json");
  metadata.set("hidden_size", int64_t{64});
  metadata.set("layers", 2.0);
  metadata.set("broken", 2.5);
  EXPECT_EQ(*metadata.integer("hidden_size", 1, 100), 64);
  EXPECT_EQ(*metadata.integer("layers", 1, 100), 2);
  EXPECT_FALSE(metadata.integer("broken", 1, 100).ok());
  const auto out_of_range = metadata.integer("hidden_size", 1, 10);
  ASSERT_FALSE(out_of_range.ok());
  EXPECT_EQ(out_of_range.error().message, "config.json: hidden_size is 64, outside 1..10");
  EXPECT_EQ(out_of_range.error().kind, ErrorKind::model);
}

TEST(Metadata, NanIsOutsideEveryRange) {
  Metadata metadata;
  metadata.set("rms_norm_eps", std::numeric_limits<double>::quiet_NaN());
  EXPECT_FALSE(metadata.number("rms_norm_eps", 0, 1).ok());
}

TEST(Metadata, FallbackOnlyForMissingKeys) {
  Metadata metadata("config.json");
  metadata.set("tie", std::string("yes"));
  EXPECT_TRUE(*metadata.boolean_or("absent", true));
  EXPECT_FALSE(metadata.boolean_or("tie", true).ok());
  EXPECT_EQ(metadata.text("absent").error().message, "config.json: the key absent is missing");
}

}  // namespace
}  // namespace dunlin
