// CacheFolder: a folder of artifacts that are kept for later processes, each under its key. Processes
// read, replace and remove entries at any time: an artifact appears whole, and one that is open or
// mapped outlives its name.
#pragma once

#include <cstdint>
#include <string>

#include "base/result.h"

namespace dunlin {

class CacheFolder {
 public:
  // Entries are files KEY + `extension`, as ".program". Other files in the folder are left alone.
  CacheFolder(std::string path, std::string extension);

  const std::string& path() const { return path_; }
  std::string entry(const std::string& key) const { return path_ + "/" + key + extension_; }

  // Whether everybody may write to the folder, so that nobody knows who did.
  bool is_open_to_all() const;
  // Makes the folder, for its owner alone, unless it is there. Errors name it.
  Result<void> create() const;
  // Makes the entry the one that was used last; in a folder that may only be read it stays as it is.
  void touch(const std::string& key) const;
  // Removes the entries that were not used for longest until all have no more than `most_bytes`
  // together, and whatever writers that were killed have left.
  void shrink(uint64_t most_bytes) const;

 private:
  std::string path_;
  std::string extension_;
};

}  // namespace dunlin
