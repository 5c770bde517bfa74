#include "cli/reasoning_flags.h"

#include "base/log.h"
#include "cli/flags.h"

namespace dunlin {

void ReasoningFlags::add_to(Command command) {
  const FlagGroup group(command, "Reasoning");
  add_switch(command, "--show-reasoning", show,
             "show what the model thinks, and its calls of tools, before the answer (GPT-OSS)");
  add_flag(command, "--reasoning-effort", effort, "how long the model thinks (GPT-OSS)")
      .check(one_of({"low", "medium", "high"}));
}

std::optional<harmony::ReasoningEffort> ReasoningFlags::effort_for(const TextModel& text) const {
  if (effort.empty()) return std::nullopt;
  if (!text.knows_reasoning_effort())
    log_warning("--reasoning-effort has no effect: the model's chat format has no such setting");
  return harmony::effort_of(effort);
}

}  // namespace dunlin
