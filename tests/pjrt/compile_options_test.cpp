// Compile options on the wire: bytes that XLA's own protobuf classes make of the same messages.
#include "backend/pjrt/client/compile_options.h"

#include <gtest/gtest.h>

namespace dunlin::pjrt {
namespace {

std::string hex(const std::string& bytes) {
  std::string text;
  for (const char byte : bytes) {
    const auto value = static_cast<unsigned char>(byte);
    text += "0123456789abcdef"[value >> 4];
    text += "0123456789abcdef"[value & 15];
  }
  return text;
}

TEST(CompileOptions, OneDevice) {
  // executable_build_options { replicas 1, partitions 1, device_assignment { 1 x 1: {0} } }
  EXPECT_EQ(hex(serialize({})),
            "1a0f200128014a0908011001"
            "1a030a0100");
}

TEST(CompileOptions, FourPartitionsWithShardy) {
  const CompileSpec spec{.device_ids = {0, 1, 2, 3}, .shardy = true};
  EXPECT_EQ(hex(serialize(spec)),
            "1a23200128043001"
            "4a18080110041a030a01001a030a01011a030a01021a030a0103"
            "980101");
}

TEST(CompileOptions, OverridesOfEveryType) {
  const CompileSpec spec{
      .options = {{"a", std::string("on")}, {"b", true}, {"c", int64_t{300}}, {"d", 0.5}}};
  const std::string text = hex(serialize(spec));
  EXPECT_NE(text.find("3a090a016112040a026f6e"), std::string::npos) << text;
  EXPECT_NE(text.find("3a070a016212021001"), std::string::npos) << text;
  EXPECT_NE(text.find("3a080a0163120318ac02"), std::string::npos) << text;
  EXPECT_NE(text.find("3a0e0a0164120921000000000000e03f"), std::string::npos) << text;
}

TEST(CompileOptions, OptionsAreTyped) {
  const auto value = [](const std::string& text) { return parse_option(text)->second; };
  EXPECT_EQ(value("a=true"), OptionValue(true));
  EXPECT_EQ(value("a=32768"), OptionValue(int64_t{32768}));
  EXPECT_EQ(value("a=x=y"), OptionValue(std::string("x=y")));
  EXPECT_FALSE(parse_option("a").ok());
  EXPECT_FALSE(parse_option("=1").ok());
}

}  // namespace
}  // namespace dunlin::pjrt
