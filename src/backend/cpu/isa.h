// Choice of the instruction set whose row of the kernel table an executable uses.
#pragma once

#include <string>
#include <vector>

#include "base/cpu_features.h"
#include "base/result.h"

namespace dunlin::cpu {

// One instruction set, and why it is not used; an empty refusal means that it may be.
struct IsaCandidate {
  Isa isa;
  std::string refusal;  // "the processor lacks amx_tile, amx_bf16"
};

// All instruction sets, those of other processors too; of one kind of processor best first, scalar
// (which is never refused) last.
std::vector<IsaCandidate> isa_candidates(const CpuFeatures& features);

// The instruction set called `requested`, or the best candidate when it is empty. An unknown name
// is a usage error, one that the processor lacks a device error; both list what there is.
// `asked_by` names who asked, for the message: "isa", "DUNLIN_ISA".
Result<Isa> choose_isa(const std::string& requested, const std::string& asked_by,
                       const CpuFeatures& features);

// choose_isa() of `option`, else of the environment variable DUNLIN_ISA, on this processor.
Result<Isa> select_isa(const std::string& option);

}  // namespace dunlin::cpu
