// Whether what is to be written fits the disk.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "base/result.h"

namespace dunlin {

// Bytes that this user may still write to the file system of `where`, an existing file or folder;
// nothing from one that does not tell.
std::optional<uint64_t> free_disk_bytes(const std::string& where);

// An error (kind does_not_fit) that names `path` and both sizes when the file system of `where`, an
// existing file or folder, has fewer than `bytes` free for this user. Nothing is reserved. A file
// system that does not tell its size is no error.
Result<void> check_disk_space(const std::string& path, const std::string& where, uint64_t bytes);

}  // namespace dunlin
