// Where the hub and its cache are, from the variables that huggingface_hub reads
// (huggingface_hub/constants.py and utils/_auth.py of version 2.4).
#pragma once

#include <chrono>
#include <string>

#include "base/result.h"

namespace dunlin {

struct HubSettings {
  std::string endpoint = "https://huggingface.co";  // HF_ENDPOINT, without a slash at its end
  // HF_TOKEN, else the file HF_TOKEN_PATH or $HF_HOME/token; empty without one, or with
  // HF_HUB_DISABLE_IMPLICIT_TOKEN.
  std::string token = {};
  std::string cache = {};                  // hub_cache_folder()
  bool offline = false;                    // HF_HUB_OFFLINE, TRANSFORMERS_OFFLINE
  std::chrono::seconds stall_timeout{30};  // HF_HUB_DOWNLOAD_TIMEOUT
};

// HF_HUB_CACHE, else HUGGINGFACE_HUB_CACHE, else $HF_HOME/hub; HF_HOME is
// $XDG_CACHE_HOME/huggingface, else ~/.cache/huggingface. In all of them ~ and $NAME are replaced.
Result<std::string> hub_cache_folder();

// All of it. Errors (kind usage) name the variable.
Result<HubSettings> hub_settings();

// Trims; nothing but visible ASCII may remain, or it could add headers to a request. Errors (kind
// usage) begin with `origin` and never show the token.
Result<std::string> clean_token(const std::string& text, const std::string& origin);

}  // namespace dunlin
