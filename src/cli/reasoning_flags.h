// Flags of commands that answer: how much a model thinks before it does, and whether that is shown.
#pragma once

#include <optional>
#include <string>

#include "cli/command.h"
#include "engine/text_model.h"
#include "tokenizer/harmony/message.h"

namespace dunlin {

struct ReasoningFlags {
  bool show = false;
  std::string effort = {};  // empty: the model's own

  void add_to(Command command);
  // The effort for TextModel::encode_chat. Warns when the model makes nothing of the one that is given.
  std::optional<harmony::ReasoningEffort> effort_for(const TextModel& text) const;
};

}  // namespace dunlin
