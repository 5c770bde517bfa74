// What the CPU back end can do without (CompileOptions::disabled): rewrites, memory reuse, keys and
// values that query heads share, experts read once, and the vector and tile kernels of each family
// of operations. Bits stay the same without any of them.
#pragma once

#include <vector>

#include "backend/api.h"
#include "backend/cpu/kernels/kernels.h"

namespace dunlin::cpu {

// Values share memory where their lives allow it (memory_plan.h).
inline constexpr const char* kMemoryReuse = "memory_reuse";

// How weights are read is measured once (memory_tuning.h), where the loading says where it is kept.
inline constexpr const char* kMemoryTuning = "memory_tuning";

// Query heads read the keys and values of their kv head where they are
// (repeated_attention_step.h: without it).
inline constexpr const char* kGqa = "gqa";

// Rows that chose one expert go through it together (expert_groups.h).
inline constexpr const char* kMoeGrouping = "moe-grouping";

// What rests on others comes before them: the rewrites from the last to the first.
std::vector<Optimization> optimizations();

// The row of the table for an instruction set, with the scalar row's kernels in the families that
// are disabled.
Kernels enabled_kernels(Isa isa, const CompileOptions& options);

}  // namespace dunlin::cpu
