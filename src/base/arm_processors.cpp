// Tables of hardware capabilities and of cores.
#include "base/arm_processors.h"

#include <algorithm>
#include <charconv>
#include <iterator>
#include <optional>
#include <system_error>

namespace dunlin {

namespace {

struct Capability {
  const char* name;
  int word;  // 0: AT_HWCAP, 1: AT_HWCAP2
  int bit;
};

// Linux, arch/arm64/include/uapi/asm/hwcap.h.
constexpr Capability kCapabilities[] = {
    {"asimd", 0, 1},    {"fphp", 0, 9},     {"asimdhp", 0, 10},  {"asimdrdm", 0, 12},
    {"asimddp", 0, 20}, {"sve", 0, 22},     {"asimdfhm", 0, 23}, {"sve2", 1, 1},
    {"svei8mm", 1, 9},  {"svebf16", 1, 12}, {"i8mm", 1, 13},     {"bf16", 1, 14},
};

struct Maker {
  uint32_t implementer;
  const char* name;
};

// Arm Architecture Reference Manual, MIDR_EL1.
constexpr Maker kMakers[] = {
    {0x41, "Arm"},    {0x42, "Broadcom"}, {0x43, "Cavium"}, {0x46, "Fujitsu"}, {0x48, "HiSilicon"},
    {0x4e, "NVIDIA"}, {0x51, "Qualcomm"}, {0x61, "Apple"},  {0xc0, "Ampere"},
};

struct Core {
  uint32_t implementer;
  uint32_t part;
  const char* name;
};

// The makers' technical reference manuals, MIDR_EL1.
constexpr Core kCores[] = {
    {0x41, 0xd03, "Cortex-A53"},  {0x41, 0xd04, "Cortex-A35"},  {0x41, 0xd05, "Cortex-A55"},
    {0x41, 0xd07, "Cortex-A57"},  {0x41, 0xd08, "Cortex-A72"},  {0x41, 0xd09, "Cortex-A73"},
    {0x41, 0xd0a, "Cortex-A75"},  {0x41, 0xd0b, "Cortex-A76"},  {0x41, 0xd0c, "Neoverse-N1"},
    {0x41, 0xd0d, "Cortex-A77"},  {0x41, 0xd40, "Neoverse-V1"}, {0x41, 0xd41, "Cortex-A78"},
    {0x41, 0xd44, "Cortex-X1"},   {0x41, 0xd46, "Cortex-A510"}, {0x41, 0xd47, "Cortex-A710"},
    {0x41, 0xd48, "Cortex-X2"},   {0x41, 0xd49, "Neoverse-N2"}, {0x41, 0xd4d, "Cortex-A715"},
    {0x41, 0xd4e, "Cortex-X3"},   {0x41, 0xd4f, "Neoverse-V2"}, {0x41, 0xd80, "Cortex-A520"},
    {0x41, 0xd81, "Cortex-A720"}, {0x43, 0x0af, "ThunderX2"},   {0x46, 0x001, "A64FX"},
    {0x48, 0xd01, "Kunpeng-920"}, {0xc0, 0xac3, "Ampere-1"},    {0xc0, 0xac4, "Ampere-1a"},
};

// The number of a line "CPU part\t: 0xd0c"; nothing when the line has another name.
std::optional<uint32_t> number_of(std::string_view line, std::string_view name) {
  if (!line.starts_with(name)) return std::nullopt;
  const size_t at = line.find("0x");
  if (at == std::string_view::npos) return std::nullopt;
  uint32_t number = 0;
  const auto [end, error] =
      std::from_chars(line.data() + at + 2, line.data() + line.size(), number, 16);
  if (error != std::errc()) return std::nullopt;
  return number;
}

std::string hexadecimal(uint32_t number) {
  char digits[8];
  const auto written = std::to_chars(digits, digits + sizeof(digits), number, 16);
  std::string text = "0x";
  text.append(digits, written.ptr);
  return text;
}

std::string core_name(uint32_t implementer, uint32_t part) {
  const auto maker = std::ranges::find(kMakers, implementer, &Maker::implementer);
  std::string name = maker == std::end(kMakers) ? hexadecimal(implementer) : maker->name;
  const auto core = std::ranges::find_if(kCores, [&](const Core& each) {
    return each.implementer == implementer && each.part == part;
  });
  name += ' ';
  name += core == std::end(kCores) ? hexadecimal(part) : core->name;
  return name;
}

}  // namespace

std::vector<std::string> arm_flags(uint64_t hwcap, uint64_t hwcap2) {
  std::vector<std::string> flags;
  for (const Capability& capability : kCapabilities) {
    const uint64_t word = capability.word == 0 ? hwcap : hwcap2;
    if ((word >> capability.bit & 1u) != 0) flags.emplace_back(capability.name);
  }
  return flags;
}

std::string arm_model(std::string_view cpuinfo) {
  std::vector<std::string> names;
  uint32_t implementer = 0;
  while (!cpuinfo.empty()) {
    const size_t end = std::min(cpuinfo.find('\n'), cpuinfo.size());
    const std::string_view line = cpuinfo.substr(0, end);
    cpuinfo.remove_prefix(std::min(end + 1, cpuinfo.size()));
    if (const auto maker = number_of(line, "CPU implementer")) implementer = *maker;
    const auto part = number_of(line, "CPU part");
    if (!part) continue;
    const std::string name = core_name(implementer, *part);
    if (std::ranges::find(names, name) == names.end()) names.push_back(name);
  }
  if (names.empty()) return "unknown";
  std::string all = names[0];
  for (size_t i = 1; i < names.size(); ++i) {
    all += ", ";
    all += names[i];
  }
  return all;
}

}  // namespace dunlin
