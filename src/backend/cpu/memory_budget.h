// How many bytes of mapped weights memory may hold.
#pragma once

#include <cstdint>
#include <optional>

#include "base/result.h"
#include "base/system_memory.h"

namespace dunlin::cpu {

// Bytes, or with K, M or G behind them (1024 each): the budget, whatever memory there is.
inline constexpr const char* kBudgetVariable = "DUNLIN_MEMORY_BUDGET";

// What the variable says; nothing where it is not set or empty. An error (kind usage): no size.
Result<std::optional<uint64_t>> stated_budget();

// Of `there` bytes of free memory less an eighth, for what the process and the system still need, what
// `other_bytes` leave; nothing where they are more. UINT64_MAX, of a system that does not say, stays so.
std::optional<uint64_t> budget_within(uint64_t there, uint64_t other_bytes);

// The variable; without it available_memory() less an eighth, for what the process and the system still
// need, and less `other_bytes`, which the caller will take. Errors: a variable that is no size (kind
// usage); other_bytes that do not fit (kind does_not_fit).
Result<uint64_t> weights_budget(uint64_t other_bytes, const SystemFiles& files = {});

}  // namespace dunlin::cpu
