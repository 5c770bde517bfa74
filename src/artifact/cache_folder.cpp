#include "artifact/cache_folder.h"

#include <fmt/format.h>
#include <sys/stat.h>

#include <algorithm>
#include <chrono>
#include <filesystem>
#include <system_error>
#include <utility>
#include <vector>

#include "base/atomic_file.h"

namespace dunlin {
namespace {

namespace fs = std::filesystem;

// A writer locks its file right after it was made; only what is older is taken for left over.
constexpr std::chrono::minutes kYoung{1};

struct CacheEntry {
  fs::path path = {};
  uint64_t bytes = 0;
  fs::file_time_type used = {};
};

std::vector<fs::path> files_of(const std::string& folder) {
  std::vector<fs::path> files;
  std::error_code error;
  const fs::directory_iterator end;
  for (fs::directory_iterator it(folder, error); !error && it != end; it.increment(error))
    files.push_back(it->path());
  return files;
}

}  // namespace

CacheFolder::CacheFolder(std::string path, std::string extension)
    : path_(std::move(path)), extension_(std::move(extension)) {}

bool CacheFolder::is_open_to_all() const {
  struct stat status = {};
  return ::stat(path_.c_str(), &status) == 0 && (status.st_mode & S_IWOTH) != 0;
}

Result<void> CacheFolder::create() const {
  std::error_code error;
  if (fs::create_directories(path_, error)) fs::permissions(path_, fs::perms::owner_all, error);
  if (error) return runtime_error(fmt::format("{}: {}", path_, error.message()));
  return {};
}

void CacheFolder::touch(const std::string& key) const {
  std::error_code ignored;
  fs::last_write_time(entry(key), fs::file_time_type::clock::now(), ignored);
}

void CacheFolder::shrink(uint64_t most_bytes) const {
  const std::string temporary = AtomicFile::temporary_of(extension_);
  const auto now = fs::file_time_type::clock::now();
  std::vector<CacheEntry> entries;
  uint64_t total = 0;
  for (const fs::path& path : files_of(path_)) {
    const std::string name = path.filename().string();
    if (!name.ends_with(extension_) && !name.ends_with(temporary)) continue;
    std::error_code gone;  // another process removes entries, too
    CacheEntry entry{.path = path};
    entry.bytes = fs::file_size(path, gone);
    if (!gone) entry.used = fs::last_write_time(path, gone);
    if (gone) continue;
    if (name.ends_with(temporary)) {
      if (entry.used < now - kYoung) AtomicFile::remove_leftover(path.string());
      continue;
    }
    total += entry.bytes;
    entries.push_back(std::move(entry));
  }
  std::ranges::sort(entries, {}, &CacheEntry::used);
  for (const CacheEntry& entry : entries) {
    if (total <= most_bytes) return;
    std::error_code gone;
    fs::remove(entry.path, gone);
    total -= entry.bytes;
  }
}

}  // namespace dunlin
