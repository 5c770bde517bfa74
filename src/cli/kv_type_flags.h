// Flags of what keys and values are kept as: llama.cpp's for each of them, vLLM's for both.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "backend/api.h"
#include "cli/command.h"

namespace dunlin {

struct KvTypeFlags {
  std::string keys = "auto", values = "auto";  // auto: what the profile keeps
  std::string both = "auto";

  // `words`: what they may be, beside auto.
  void add_to(Command command, const std::vector<std::string>& words);

  // Of keys and of values, --kv-cache-dtype taken into account.
  const std::string& of_keys() const { return both != "auto" ? both : keys; }
  const std::string& of_values() const { return both != "auto" ? both : values; }

  // Nothing for auto. Errors (kind usage): keys and values differ; a name of no KvType.
  Result<std::optional<KvType>> type() const;
};

}  // namespace dunlin
