#include "cli/argv.h"

#include <algorithm>
#include <array>
#include <utility>

namespace dunlin {
namespace {

// CLI11 takes single letters only as short flags.
constexpr std::array<std::pair<std::string_view, std::string_view>, 12> kShortFlags = {{
    {"-np", "--parallel"},
    {"-ub", "--ubatch-size"},
    {"-sys", "--system-prompt"},
    {"-sysf", "--system-prompt-file"},
    {"-no-cnv", "--no-conversation"},
    {"-st", "--single-turn"},
    {"-ctk", "--cache-type-k"},
    {"-ctv", "--cache-type-v"},
    {"-oe", "--output-err"},
    {"-pg", "--prompt-gen"},
    {"-ngl", "--gpu-layers"},
    {"-fa", "--flash-attn"},
}};

// Flags of llama.cpp, and what does their work here, where no name says so.
constexpr std::array<std::pair<std::string_view, std::string_view>, 12> kForeignFlags = {{
    {"-lv", "-v for more on stderr, or -q for less"},
    {"--log-verbosity", "-v for more on stderr, or -q for less"},
    {"--log-disable", "-q"},
    {"-cnv", "`dunlin chat`"},
    {"--conversation", "`dunlin chat`"},
    {"--interactive", "`dunlin chat`"},
    {"-hf", "`dunlin pull REPO`, and then REPO as MODEL"},
    {"--hf-repo", "`dunlin pull REPO`, and then REPO as MODEL"},
    {"-tb", "-t"},
    {"--threads-batch", "-t"},
    {"-dev", "--backend pjrt --device"},
    {"-ngl", "--backend pjrt --device gpu"},
}};

size_t edit_distance(std::string_view a, std::string_view b) {
  std::vector<size_t> row(b.size() + 1);
  for (size_t j = 0; j <= b.size(); ++j) row[j] = j;
  for (size_t i = 1; i <= a.size(); ++i) {
    size_t diagonal = std::exchange(row[0], i);
    for (size_t j = 1; j <= b.size(); ++j) {
      const size_t substitute = diagonal + (a[i - 1] == b[j - 1] ? 0 : 1);
      diagonal = row[j];
      row[j] = std::min({substitute, row[j] + 1, row[j - 1] + 1});
    }
  }
  return row[b.size()];
}

}  // namespace

std::string long_flag_of(std::string_view short_flag) {
  const auto* const entry = std::ranges::find(
      kShortFlags, short_flag, &std::pair<std::string_view, std::string_view>::first);
  return entry == kShortFlags.end() ? std::string() : std::string(entry->second);
}

std::string short_flag_of(std::string_view long_flag) {
  const auto* const entry = std::ranges::find(
      kShortFlags, long_flag, &std::pair<std::string_view, std::string_view>::second);
  return entry == kShortFlags.end() ? std::string() : std::string(entry->first);
}

std::string nearest_name(std::string_view flag, std::span<const std::string> names) {
  std::string best;
  size_t best_distance = flag.size() / 2 + 1;
  for (const std::string& name : names) {
    const size_t distance = edit_distance(flag, name);
    if (distance < best_distance) {
      best_distance = distance;
      best = name;
    }
  }
  return best;
}

std::string unknown_name(const std::string& name, const std::string& kind,
                         std::span<const std::string> names) {
  const auto* const foreign =
      std::ranges::find(kForeignFlags, name, &std::pair<std::string_view, std::string_view>::first);
  if (foreign != kForeignFlags.end()) {
    std::string message = name;
    message += " is not a " + kind + "; use ";
    return message + std::string(foreign->second);
  }
  const std::string nearest = nearest_name(name, names);
  const std::string question = nearest.empty() ? "" : "; did you mean " + nearest + "?";
  return name + " is not a " + kind + question;
}

}  // namespace dunlin
