#include "backend/pjrt/program_cache.h"

#include <fmt/format.h>
#include <sys/stat.h>
#include <xxhash.h>

#include <algorithm>
#include <cstddef>
#include <filesystem>
#include <span>
#include <system_error>
#include <utility>
#include <vector>

#include "artifact/reader.h"
#include "artifact/writer.h"
#include "base/log.h"

namespace dunlin::pjrt {
namespace {

namespace fs = std::filesystem;

constexpr const char* kFormat = "dunlin compiled program 1";  // of key() and of what is in an entry
constexpr const char* kKind = "compiled program";
constexpr const char* kChunk = "executable";
constexpr const char* kExtension = ".program";

bool anyone_may_write(const std::string& folder) {
  struct stat status = {};
  return ::stat(folder.c_str(), &status) == 0 && (status.st_mode & S_IWOTH) != 0;
}

void warn_once(std::atomic<bool>& told, const std::string& message) {
  if (!told.exchange(true)) log_warning(message);
}

struct Entry {
  fs::path path = {};
  uint64_t bytes = 0;
  fs::file_time_type used = {};
};

// Entries, and temporaries that a writer which was killed has left.
std::vector<Entry> entries_of(const std::string& folder) {
  std::vector<Entry> entries;
  std::error_code error;
  const fs::directory_iterator end;
  for (fs::directory_iterator it(folder, error); !error && it != end; it.increment(error)) {
    const fs::path extension = it->path().extension();
    if (extension != kExtension && extension != ".tmp") continue;
    std::error_code gone;  // another process removes entries, too
    Entry entry{.path = it->path()};
    entry.bytes = it->file_size(gone);
    if (!gone) entry.used = it->last_write_time(gone);
    if (!gone) entries.push_back(std::move(entry));
  }
  return entries;
}

}  // namespace

ProgramCache::ProgramCache(std::string folder, std::string compiler, uint64_t most_bytes)
    : folder_(std::move(folder)), compiler_(std::move(compiler)), most_bytes_(most_bytes) {
  if (folder_.empty() || !anyone_may_write(folder_)) return;
  log_warning(fmt::format("compiled programs are not kept: {}: anyone may write to it", folder_));
  folder_.clear();
}

std::string ProgramCache::key(const std::string& program, const std::string& options) const {
  // Lengths keep the parts apart.
  std::string bytes =
      fmt::format("{} {} {} {}\n", kFormat, compiler_.size(), options.size(), program.size());
  bytes += compiler_;
  bytes += options;
  bytes += program;
  const XXH128_hash_t hash = XXH3_128bits(bytes.data(), bytes.size());
  return fmt::format("{:016x}{:016x}", hash.high64, hash.low64);
}

std::string ProgramCache::path(const std::string& key) const {
  return folder_ + "/" + key + kExtension;
}

Result<std::string> ProgramCache::read(const std::string& key) const {
  DUNLIN_ASSIGN_OR_RETURN(const ArtifactReader reader, ArtifactReader::open(path(key), kKind));
  if (reader.key() != key) return runtime_error(path(key) + ": of another program");
  DUNLIN_ASSIGN_OR_RETURN(const std::vector<std::byte> bytes, reader.read(kChunk, most_bytes_));
  return std::string(reinterpret_cast<const char*>(bytes.data()), bytes.size());
}

std::optional<std::string> ProgramCache::find(const std::string& key) {
  std::error_code error;
  if (folder_.empty() || (!fs::exists(path(key), error) && !error)) return std::nullopt;
  auto executable = read(key);
  if (!executable.ok()) {
    refuse(executable.error());
    return std::nullopt;
  }
  // The time of its last use; of a folder that may only be read it stays as it is.
  fs::last_write_time(path(key), fs::file_time_type::clock::now(), error);
  return std::move(executable).value();
}

void ProgramCache::refuse(const Error& why) {
  warn_once(told_unreadable_, "a program is compiled again: " + why.message);
}

Result<void> ProgramCache::write(const std::string& key, const std::string& executable) const {
  std::error_code error;
  if (fs::create_directories(folder_, error)) fs::permissions(folder_, fs::perms::owner_all, error);
  if (error) return runtime_error(fmt::format("{}: {}", folder_, error.message()));
  DUNLIN_ASSIGN_OR_RETURN(ArtifactWriter writer,
                          ArtifactWriter::create(path(key), {.kind = kKind, .key = key}));
  DUNLIN_RETURN_IF_ERROR(writer.begin_chunk(kChunk));
  DUNLIN_RETURN_IF_ERROR(writer.append(std::as_bytes(std::span(executable))));
  return writer.commit();
}

void ProgramCache::keep(const std::string& key, const Result<std::string>& executable) {
  if (folder_.empty() || (executable.ok() && executable->size() > most_bytes_)) return;
  const auto kept = executable.ok() ? write(key, *executable) : executable.error();
  if (kept.ok()) {
    evict();
  } else {
    warn_once(told_unwritable_, "compiled programs are not kept: " + kept.error().message);
  }
}

void ProgramCache::evict() {
  const std::lock_guard lock(evicting_);
  std::vector<Entry> entries = entries_of(folder_);
  uint64_t total = 0;
  for (const Entry& entry : entries) total += entry.bytes;
  std::ranges::sort(entries, {}, &Entry::used);
  for (const Entry& entry : entries) {
    if (total <= most_bytes_) return;
    std::error_code gone;
    fs::remove(entry.path, gone);
    total -= entry.bytes;
  }
}

}  // namespace dunlin::pjrt
