// The messages a person has typed in chats, across chats: one file, one entry a line.
#pragma once

#include <string>
#include <vector>

#include "base/result.h"

namespace dunlin {

inline constexpr size_t kMostHistoryEntries = 1000;

// Entries of the file, oldest first; none when it is not there. A file of something else is no
// error: its lines are entries.
std::vector<std::string> read_history(const std::string& path);

// Adds an entry, with the folder when it is missing; only the user can read both. Several chats may
// add at a time. A file of more than twice the most entries is cut to the newest.
Result<void> append_history(const std::string& path, const std::string& entry);

}  // namespace dunlin
