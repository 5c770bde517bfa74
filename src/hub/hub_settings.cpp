#include "hub/hub_settings.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <cstdlib>
#include <filesystem>

#include "base/ascii.h"
#include "base/byte_source.h"
#include "base/text_checks.h"
#include "hub/url.h"

namespace dunlin {
namespace {

constexpr uint64_t kLongestTokenFile = 64 << 10;

// An empty variable counts as none.
std::optional<std::string> variable(const char* name) {
  const char* const value = std::getenv(name);
  if (value == nullptr || *value == '\0') return std::nullopt;
  return value;
}

bool is_true(const char* name) {
  const std::string value = ascii_upper(variable(name).value_or(""));
  return value == "1" || value == "ON" || value == "YES" || value == "TRUE";
}

bool is_name_character(char c) {
  return is_alphanumeric(c) || c == '_';
}

// $NAME and ${NAME} replaced; those that are not set stay as they are (Python's os.path.expandvars).
std::string expand_variables(const std::string& text) {
  std::string result;
  for (size_t at = 0; at < text.size();) {
    const bool braces = text[at] == '$' && at + 1 < text.size() && text[at + 1] == '{';
    const size_t begin = at + (braces ? 2 : 1);
    size_t end = begin;
    while (end < text.size() && is_name_character(text[end])) ++end;
    const bool closed = !braces || (end < text.size() && text[end] == '}');
    const char* const value = text[at] == '$' && end > begin && closed
                                  ? std::getenv(text.substr(begin, end - begin).c_str())
                                  : nullptr;
    if (value == nullptr) {
      result += text[at++];
    } else {
      result += value;
      at = end + (braces ? 1 : 0);
    }
  }
  return result;
}

// A leading ~ is HOME, as a shell has it.
std::string expand(const std::string& path) {
  const auto home = variable("HOME");
  const bool tilde = home && (path == "~" || path.starts_with("~/"));
  return expand_variables(tilde ? *home + path.substr(1) : path);
}

// $HF_HOME, or where it is without that variable.
std::optional<std::string> hugging_face_home() {
  if (const auto home = variable("HF_HOME")) return expand(*home);
  if (const auto cache = variable("XDG_CACHE_HOME")) return expand(*cache + "/huggingface");
  if (variable("HOME")) return expand("~/.cache/huggingface");
  return std::nullopt;
}

Result<std::string> stored_token() {
  for (const char* name : {"HF_TOKEN", "HUGGING_FACE_HUB_TOKEN"}) {
    if (const auto token = variable(name)) return clean_token(*token, name);
  }
  if (is_true("HF_HUB_DISABLE_IMPLICIT_TOKEN")) return std::string();
  const auto home = hugging_face_home();
  const auto named = variable("HF_TOKEN_PATH");
  if (!named && !home) return std::string();
  const std::string path = named ? expand(*named) : *home + "/token";
  std::error_code ignored;
  if (!std::filesystem::exists(path, ignored)) return std::string();
  const auto text = read_text_file(path, kLongestTokenFile);
  if (!text.ok()) return usage_error(text.error().message);
  return clean_token(*text, path);
}

Result<std::string> endpoint() {
  std::string url = variable("HF_ENDPOINT").value_or("https://huggingface.co");
  while (url.ends_with('/')) url.pop_back();
  const std::string origin = url_origin(url);
  const bool plain = is_visible_ascii(url) && url.find_first_of("@?#") == std::string::npos;
  if (plain && (origin.starts_with("https://") || origin.starts_with("http://"))) return url;
  return usage_error(
      "HF_ENDPOINT: not an address such as https://huggingface.co, without user and password");
}

}  // namespace

Result<std::string> hub_cache_folder() {
  for (const char* name : {"HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE"}) {
    if (const auto folder = variable(name)) return expand(*folder);
  }
  if (const auto home = hugging_face_home()) return *home + "/hub";
  return usage_error("neither HF_HOME nor HOME is set: there is no folder for the cache");
}

Result<std::string> clean_token(const std::string& text, const std::string& origin) {
  const size_t first = text.find_first_not_of(" \t\r\n");
  if (first == std::string::npos) return std::string();
  const std::string token = text.substr(first, text.find_last_not_of(" \t\r\n") - first + 1);
  if (!is_visible_ascii(token))
    return usage_error(origin + ": a token has only letters, digits and '_', and no blanks");
  return token;
}

Result<HubSettings> hub_settings() {
  HubSettings settings;
  DUNLIN_ASSIGN_OR_RETURN(settings.endpoint, endpoint());
  DUNLIN_ASSIGN_OR_RETURN(settings.token, stored_token());
  DUNLIN_ASSIGN_OR_RETURN(settings.cache, hub_cache_folder());
  settings.offline = is_true("HF_HUB_OFFLINE") || is_true("TRANSFORMERS_OFFLINE");
  if (const auto timeout = variable("HF_HUB_DOWNLOAD_TIMEOUT")) {
    int seconds = 0;
    const auto [end, error] =
        std::from_chars(timeout->data(), timeout->data() + timeout->size(), seconds);
    if (error != std::errc() || end != timeout->data() + timeout->size() || seconds < 1 ||
        seconds > 86'400)
      return usage_error("HF_HUB_DOWNLOAD_TIMEOUT: not a number of seconds from 1 to 86400");
    settings.stall_timeout = std::chrono::seconds(seconds);
  }
  return settings;
}

}  // namespace dunlin
