// ProgramCache: compiled programs on disk, so that a machine compiles each once and not once for
// each process. An entry is an artifact (artifact/artifact.h): checksummed, there whole or not at
// all. Whatever is wrong with an entry or with the folder is a warning, once, and never an error:
// the program is compiled again.
#pragma once

#include <atomic>
#include <cstdint>
#include <mutex>
#include <optional>
#include <string>

#include "artifact/cache_folder.h"
#include "base/result.h"

namespace dunlin::pjrt {

class ProgramCache {
 public:
  // A program of a model of 70B has about 2 MB, and a model about twenty programs.
  static constexpr uint64_t kMostBytes = uint64_t{2} << 30;

  // `folder` is made when something is kept; empty: nothing is kept or found. Executables become code
  // of this process: a folder that anyone may write to is not used. `compiler` is what executables
  // depend on beside the program and its options. Of more than `most_bytes` what was not used for
  // longest is removed.
  ProgramCache(std::string folder, std::string compiler, uint64_t most_bytes = kMostBytes);

  bool enabled() const { return !folder_.path().empty(); }

  // Names the executable of a program (StableHLO text) with options (serialised): 32 hexadecimal
  // digits of XXH3-128 over both, the compiler and the version of the format.
  std::string key(const std::string& program, const std::string& options) const;

  // The rest is safe from any thread.
  std::optional<std::string> find(const std::string& key);
  // `executable`: serialised, or why it cannot be.
  void keep(const std::string& key, const Result<std::string>& executable);
  // Tells why what was found is of no use.
  void refuse(const Error& why);

  std::string path(const std::string& key) const;  // of an entry

 private:
  Result<std::string> read(const std::string& key) const;
  Result<void> write(const std::string& key, const std::string& executable) const;
  void evict();

  CacheFolder folder_;
  std::string compiler_;
  uint64_t most_bytes_;
  std::mutex evicting_;
  std::atomic<bool> told_unreadable_ = false;
  std::atomic<bool> told_unwritable_ = false;
};

}  // namespace dunlin::pjrt
