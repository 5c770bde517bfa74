#include "base/user_folders.h"

#include <cstdlib>

namespace dunlin {
namespace {

// A relative path is to be ignored, says the specification.
std::optional<std::string> absolute(const char* variable) {
  const char* const value = std::getenv(variable);
  if (value == nullptr || *value != '/') return std::nullopt;
  return value;
}

std::optional<std::string> folder(const char* variable, const char* below_home) {
  if (const auto base = absolute(variable)) return *base + "/dunlin";
  if (const auto home = absolute("HOME")) return *home + below_home + "/dunlin";
  return std::nullopt;
}

}  // namespace

std::optional<std::string> config_folder() {
  return folder("XDG_CONFIG_HOME", "/.config");
}
std::optional<std::string> state_folder() {
  return folder("XDG_STATE_HOME", "/.local/state");
}
std::optional<std::string> cache_folder() {
  const char* const own = std::getenv("DUNLIN_CACHE");
  if (own != nullptr && *own != '\0') return own;
  return folder("XDG_CACHE_HOME", "/.cache");
}

}  // namespace dunlin
