#include "backend/pjrt/program_cache.h"

#include <fmt/format.h>
#include <xxhash.h>

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

void warn_once(std::atomic<bool>& told, const std::string& message) {
  if (!told.exchange(true)) log_warning(message);
}

}  // namespace

ProgramCache::ProgramCache(std::string folder, std::string compiler, uint64_t most_bytes)
    : folder_(std::move(folder), kExtension),
      compiler_(std::move(compiler)),
      most_bytes_(most_bytes) {
  if (!enabled() || !folder_.is_open_to_all()) return;
  log_warning(
      fmt::format("compiled programs are not kept: {}: anyone may write to it", folder_.path()));
  folder_ = CacheFolder("", kExtension);
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
  return folder_.entry(key);
}

Result<std::string> ProgramCache::read(const std::string& key) const {
  DUNLIN_ASSIGN_OR_RETURN(const ArtifactReader reader, ArtifactReader::open(path(key), kKind));
  if (reader.key() != key) return runtime_error(path(key) + ": of another program");
  DUNLIN_ASSIGN_OR_RETURN(const std::vector<std::byte> bytes, reader.read(kChunk, most_bytes_));
  return std::string(reinterpret_cast<const char*>(bytes.data()), bytes.size());
}

std::optional<std::string> ProgramCache::find(const std::string& key) {
  std::error_code error;
  if (!enabled() || (!fs::exists(path(key), error) && !error)) return std::nullopt;
  auto executable = read(key);
  if (!executable.ok()) {
    refuse(executable.error());
    return std::nullopt;
  }
  folder_.touch(key);
  return std::move(executable).value();
}

void ProgramCache::refuse(const Error& why) {
  warn_once(told_unreadable_, "a program is compiled again: " + why.message);
}

Result<void> ProgramCache::write(const std::string& key, const std::string& executable) const {
  DUNLIN_RETURN_IF_ERROR(folder_.create());
  DUNLIN_ASSIGN_OR_RETURN(ArtifactWriter writer,
                          ArtifactWriter::create(path(key), {.kind = kKind, .key = key}));
  DUNLIN_RETURN_IF_ERROR(writer.begin_chunk(kChunk));
  DUNLIN_RETURN_IF_ERROR(writer.append(std::as_bytes(std::span(executable))));
  return writer.commit();
}

void ProgramCache::keep(const std::string& key, const Result<std::string>& executable) {
  if (!enabled() || (executable.ok() && executable->size() > most_bytes_)) return;
  const auto kept = executable.ok() ? write(key, *executable) : executable.error();
  if (kept.ok()) {
    evict();
  } else {
    warn_once(told_unwritable_, "compiled programs are not kept: " + kept.error().message);
  }
}

void ProgramCache::evict() {
  const std::lock_guard lock(evicting_);
  folder_.shrink(most_bytes_);
}

}  // namespace dunlin::pjrt
