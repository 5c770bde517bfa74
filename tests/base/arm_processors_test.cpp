// Flags and names of ARM processors from what Linux says of them.
#include "base/arm_processors.h"

#include <gtest/gtest.h>

#include <string>
#include <vector>

namespace dunlin {
namespace {

using Strings = std::vector<std::string>;

TEST(ArmProcessors, FlagsAreTheBitsOfBothWords) {
  EXPECT_EQ(arm_flags(0, 0), Strings());
  EXPECT_EQ(arm_flags(1u << 1, 0), Strings{"asimd"});
  EXPECT_EQ(arm_flags(1u << 1 | 1u << 20, 0), (Strings{"asimd", "asimddp"}));
  EXPECT_EQ(arm_flags(1u << 1 | 1u << 20, 1u << 13 | 1u << 14),
            (Strings{"asimd", "asimddp", "i8mm", "bf16"}));
  // Bits of the other word mean something else.
  EXPECT_EQ(arm_flags(1u << 13, 1u << 20), Strings());
}

constexpr const char* kOneCore =
    "processor\t: 0\n"
    "BogoMIPS\t: 50.00\n"
    "CPU implementer\t: 0x41\n"
    "CPU architecture: 8\n"
    "CPU variant\t: 0x3\n"
    "CPU part\t: 0xd0c\n"
    "CPU revision\t: 1\n";

std::string core(const std::string& implementer, const std::string& part) {
  std::string text = "CPU implementer\t: ";
  text += implementer;
  text += "\nCPU part\t: ";
  text += part;
  text += "\n\n";
  return text;
}

TEST(ArmProcessors, ModelsAreNamedByTheirPart) {
  EXPECT_EQ(arm_model(kOneCore), "Arm Neoverse-N1");
  EXPECT_EQ(arm_model(core("0xc0", "0xac3")), "Ampere Ampere-1");
}

TEST(ArmProcessors, EachKindOfCoreIsNamedOnce) {
  const std::string small = core("0x41", "0xd05");
  const std::string big = core("0x41", "0xd0b");
  EXPECT_EQ(arm_model(small + small + big + big), "Arm Cortex-A55, Arm Cortex-A76");
}

TEST(ArmProcessors, UnknownPartsAreNumbers) {
  EXPECT_EQ(arm_model(core("0x41", "0xfff")), "Arm 0xfff");
  EXPECT_EQ(arm_model(core("0x99", "0x123")), "0x99 0x123");
}

TEST(ArmProcessors, ATextWithoutPartsIsUnknown) {
  EXPECT_EQ(arm_model(""), "unknown");
  EXPECT_EQ(arm_model("\n\n"), "unknown");
  EXPECT_EQ(arm_model("model name\t: Some Processor\n"), "unknown");
  EXPECT_EQ(arm_model("CPU implementer\t: 0x41\nCPU part\t:"), "unknown");
  EXPECT_EQ(arm_model("CPU part\t: 0xnone\n"), "unknown");
}

}  // namespace
}  // namespace dunlin
