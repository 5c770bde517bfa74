// The folders of a user (XDG Base Directory Specification 0.8).
#pragma once

#include <optional>
#include <string>

namespace dunlin {

// ${XDG_CONFIG_HOME:-~/.config}/dunlin and ${XDG_STATE_HOME:-~/.local/state}/dunlin; nothing when
// neither the variable nor HOME is an absolute path. The folder need not be there.
std::optional<std::string> config_folder();
std::optional<std::string> state_folder();
// DUNLIN_CACHE itself where it is set, else ${XDG_CACHE_HOME:-~/.cache}/dunlin, as above.
std::optional<std::string> cache_folder();

}  // namespace dunlin
