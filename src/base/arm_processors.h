// What Linux says of an ARM processor, in words. Nothing here asks the processor: it is tested
// anywhere.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace dunlin {

// Flags in cpuinfo's spelling from the auxiliary vector's AT_HWCAP and AT_HWCAP2: those that decide
// an instruction set, and their neighbours that concern numbers.
std::vector<std::string> arm_flags(uint64_t hwcap, uint64_t hwcap2);

// The kinds of cores that /proc/cpuinfo's text lists, each once in its order: "Arm Cortex-A55, Arm
// Cortex-A76"; "Arm 0xd99" where only the maker is known. "unknown" where it names none.
std::string arm_model(std::string_view cpuinfo);

}  // namespace dunlin
