// ChatInputs: what a chat template renders.
#pragma once

#include <ctime>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>

#include "base/owned_json.h"

namespace dunlin {

// What a template can read. Only bos_token and eos_token are the model's own words; every string of
// the JSON values is the caller's and never yields special tokens.
struct ChatInputs {
  OwnedJson<nlohmann::ordered_json> messages =
      nlohmann::ordered_json::array();  // {"role", "content", ...}
  bool add_generation_prompt = true;
  nlohmann::ordered_json tools;  // array of schemas; null: none
  std::string bos_token;
  std::string eos_token;
  nlohmann::ordered_json variables =
      nlohmann::ordered_json::object();  // further variables, by name
  std::optional<std::tm> now;            // what strftime_now formats; absent: the local time
};

}  // namespace dunlin
