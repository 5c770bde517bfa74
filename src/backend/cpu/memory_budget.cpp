#include "backend/cpu/memory_budget.h"

#include <fmt/format.h>

#include <charconv>
#include <cstdlib>
#include <optional>
#include <string_view>
#include <system_error>

#include "base/checked.h"

namespace dunlin::cpu {

namespace {

constexpr uint64_t kSpareShare = 8;  // one in so many bytes of the memory that is free stays so

std::optional<uint64_t> parse_bytes(std::string_view text) {
  constexpr std::string_view kUnits = "KMG";
  uint64_t factor = 1;
  if (!text.empty()) {
    const size_t unit = kUnits.find(text.back());
    if (unit != std::string_view::npos) {
      factor = uint64_t{1} << (10 * (unit + 1));
      text.remove_suffix(1);
    }
  }
  uint64_t number = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (error != std::errc() || end != text.data() + text.size()) return std::nullopt;
  return checked_mul(number, factor);
}

}  // namespace

Result<std::optional<uint64_t>> stated_budget() {
  const char* const variable = std::getenv(kBudgetVariable);
  if (variable == nullptr || *variable == '\0') return std::optional<uint64_t>();
  const std::optional<uint64_t> bytes = parse_bytes(variable);
  if (bytes) return bytes;
  return usage_error(
      fmt::format("{}: \"{}\" is not a size such as 6000000000 or 6G", kBudgetVariable, variable));
}

std::optional<uint64_t> budget_within(uint64_t there, uint64_t other_bytes) {
  if (there == UINT64_MAX) return there;
  const uint64_t usable = there - there / kSpareShare;
  if (other_bytes > usable) return std::nullopt;
  return usable - other_bytes;
}

Result<uint64_t> weights_budget(uint64_t other_bytes, const SystemFiles& files) {
  DUNLIN_ASSIGN_OR_RETURN(const std::optional<uint64_t> stated, stated_budget());
  if (stated) return *stated;
  const uint64_t there = available_memory(files);
  if (const auto budget = budget_within(there, other_bytes)) return *budget;
  constexpr double kGib = 1 << 30;
  return Error{
      ErrorKind::does_not_fit,
      fmt::format("--offload: the KV cache needs {:.2f} GiB beside the weights, and {:.2f} "
                  "GiB of memory can be had",
                  static_cast<double>(other_bytes) / kGib,
                  static_cast<double>(there - there / kSpareShare) / kGib)};
}

}  // namespace dunlin::cpu
