#include "cli/chat_settings.h"

#include <fmt/format.h>

#include <algorithm>
#include <vector>

#include "cli/argv.h"
#include "cli/numbers.h"
#include "sampler/sampler.h"

namespace dunlin {
namespace {

// Calls f(name, value) for every setting.
template <typename Settings, typename F>
void for_each_setting(Settings& settings, F&& f) {
  auto& sampling = settings.sampling;
  f("temp", sampling.temperature);
  f("top-k", sampling.top_k);
  f("top-p", sampling.top_p);
  if (!settings.diffusion) {
    f("min-p", sampling.min_p);
    f("repeat-penalty", sampling.repeat_penalty);
    f("repeat-last-n", sampling.repeat_last_n);
    f("frequency-penalty", sampling.frequency_penalty);
    f("presence-penalty", sampling.presence_penalty);
  }
  f("seed", sampling.seed);
  f("max-tokens", settings.max_tokens);
}

std::string canonical_name(std::string name) {
  std::ranges::replace(name, '_', '-');
  return name == "temperature" ? "temp" : name;
}

// Of any model.
bool is_setting(const std::string& name) {
  const ChatSettings all = {};
  bool found = false;
  for_each_setting(all, [&](const char* each, const auto&) { found = found || name == each; });
  return found;
}

}  // namespace

Result<void> ChatSettings::set(const std::string& name, const std::string& value,
                               int64_t vocabulary) {
  const std::string wanted = canonical_name(name);
  ChatSettings changed = *this;
  std::vector<std::string> names;
  bool found = false;
  std::string problem;
  for_each_setting(changed, [&](const char* each, auto& field) {
    names.emplace_back(each);
    if (wanted != each) return;
    found = true;
    problem = parse_number(value, field);
  });
  if (!found && diffusion && is_setting(wanted))
    return usage_error(fmt::format("{} has no meaning for a diffusion model", wanted));
  if (!found) return usage_error(unknown_name(name, "setting", names));
  if (!problem.empty()) return usage_error(fmt::format("{}: \"{}\" {}", wanted, value, problem));
  if (changed.max_tokens < -1)
    return usage_error(fmt::format("max-tokens {}: less than -1", changed.max_tokens));
  DUNLIN_RETURN_IF_ERROR(validate(changed.sampling, vocabulary));
  *this = std::move(changed);
  return {};
}

std::string ChatSettings::text() const {
  std::string lines;
  for_each_setting(*this, [&lines](const char* name, const auto& value) {
    lines += fmt::format("{} {}\n", name, value);
  });
  return lines;
}

}  // namespace dunlin
