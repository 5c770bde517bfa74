#include "tokenizer/harmony/message.h"

#include <algorithm>
#include <array>

namespace dunlin::harmony {
namespace {

constexpr std::array<std::string_view, 5> kRoles = {"system", "developer", "user", "assistant",
                                                    "tool"};
constexpr std::array<std::string_view, 3> kEfforts = {"low", "medium", "high"};

template <typename Enum, size_t N>
std::optional<Enum> find_name(const std::array<std::string_view, N>& names, std::string_view name) {
  const auto* const found = std::ranges::find(names, name);
  if (found == names.end()) return std::nullopt;
  return static_cast<Enum>(found - names.begin());
}

}  // namespace

std::string_view role_name(Role role) {
  return kRoles[static_cast<size_t>(role)];
}
std::optional<Role> role_of(std::string_view name) {
  return find_name<Role>(kRoles, name);
}

std::string_view effort_name(ReasoningEffort effort) {
  return kEfforts[static_cast<size_t>(effort)];
}
std::optional<ReasoningEffort> effort_of(std::string_view name) {
  return find_name<ReasoningEffort>(kEfforts, name);
}

bool is_answer(const Header& header) {
  if (header.role != Role::assistant) return false;
  return header.channel == kFinal || (header.channel.empty() && header.recipient.empty());
}

}  // namespace dunlin::harmony
