#include "checkpoint/pack_cache.h"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <exception>
#include <filesystem>
#include <new>
#include <system_error>
#include <utility>

#include "artifact/reader.h"
#include "base/check.h"
#include "base/disk_space.h"
#include "base/log.h"
#include "checkpoint/fingerprint.h"
#include "checkpoint/mapped_weights.h"
#include "checkpoint/xxh3_hash.h"

namespace dunlin {
namespace {

namespace fs = std::filesystem;

constexpr const char* kFormat = "dunlin packed weights 1";  // of key() and of what is in an entry
constexpr const char* kKind = "packed weights";
constexpr const char* kExtension = ".packed";

double megabytes(uint64_t bytes) {
  return static_cast<double>(bytes) / 1e6;
}

void warn(const Error& why) {
  log_warning("packed weights are not kept: " + why.message);
}

}  // namespace

PackCache::PackCache(PackCacheSettings settings, const Checkpoint& stored, std::string encoding)
    : settings_(std::move(settings)),
      folder_(settings_.folder, kExtension),
      stored_(stored),
      encoding_(std::move(encoding)) {
  if (settings_.folder.empty() || !folder_.is_open_to_all()) return;
  give_up(runtime_error(folder_.path() + ": anyone may write to it"));
  settings_.folder.clear();
}

Result<std::string> PackCache::key() const {
  DUNLIN_ASSIGN_OR_RETURN(const std::string files, file_fingerprint(stored_));
  std::vector<std::string> parts;
  for (const PreparedPart& part : parts_)
    parts.push_back(fmt::format("{} {}", part.name, part.bytes));
  std::ranges::sort(parts);
  Xxh3Hash hash;
  for (const std::string& each :
       {std::string(kFormat), std::string(DUNLIN_VERSION), files, encoding_, packing_})
    hash.text(each);
  hash.list(parts);
  return hash.digits();
}

uint64_t PackCache::bytes() const {
  uint64_t bytes = 0;
  for (const PreparedPart& part : parts_) bytes += part.bytes;
  return bytes;
}

std::shared_ptr<const PreparedWeights> PackCache::find(const std::string& packing,
                                                       const std::vector<PreparedPart>& parts) {
  DUNLIN_CHECK(job_ == nullptr, "an entry is being written");  // which reads these
  packing_ = packing;
  parts_ = parts;
  key_.clear();
  if (settings_.folder.empty()) return nullptr;
  if (bytes() < settings_.least_bytes) {
    decline(fmt::format("{:.1f} MB are too few to be kept", megabytes(bytes())));
    return nullptr;
  }
  const auto found_key = key();
  if (!found_key.ok()) {
    give_up(found_key.error());
    return nullptr;
  }
  key_ = *found_key;
  std::error_code error;
  if (!fs::exists(folder_.entry(key_), error) && !error) {
    why_not_ = folder_.entry(key_) + ": is not there";
    return nullptr;
  }
  const auto weights = open();
  if (!weights.ok()) {
    refuse(weights.error());
    return nullptr;
  }
  folder_.touch(key_);
  if (!kept_) {
    hit_ = true;
    notes_.push_back(fmt::format("from {}", folder_.entry(key_)));
  }
  return *weights;
}

Result<std::shared_ptr<const PreparedWeights>> PackCache::open() const {
  const std::string path = folder_.entry(key_);
  DUNLIN_ASSIGN_OR_RETURN(const ArtifactReader reader, ArtifactReader::open(path, kKind));
  if (reader.key() != key_) return runtime_error(path + ": of another model");
  const auto weights = std::make_shared<MappedWeights>(path, packing_, stored_.path());
  DUNLIN_RETURN_IF_ERROR(weights->add(reader));
  for (const PreparedPart& part : parts_) {
    if (weights->find(part) == nullptr)
      return runtime_error(fmt::format("{}: {} is missing", path, part.name));
  }
  return std::shared_ptr<const PreparedWeights>(weights);
}

void PackCache::refuse(const Error& why) {
  hit_ = false;
  why_not_ = why.message;
  notes_ = {fmt::format("packed again: {}", why.message)};
}

void PackCache::give_up(const Error& why) {
  writer_.reset();
  why_not_ = why.message;
  warn(why);
}

void PackCache::decline(std::string why) {
  notes_.push_back(why);
  why_not_ = std::move(why);
}

bool PackCache::has_room() {
  if (bytes() <= settings_.most_bytes) return true;
  decline(fmt::format("{:.1f} MB are more than the {:.1f} MB that are kept", megabytes(bytes()),
                      megabytes(settings_.most_bytes)));
  return false;
}

bool PackCache::begin() {
  if (key_.empty() || !has_room()) return false;
  const auto begun = begin_entry();
  if (!begun.ok()) give_up(begun.error());
  return begun.ok();
}

Result<void> PackCache::begin_entry() {
  DUNLIN_RETURN_IF_ERROR(folder_.create());
  folder_.shrink(settings_.most_bytes - bytes());
  const std::optional<uint64_t> free = free_disk_bytes(folder_.path());
  if (free && *free / 2 < bytes()) {
    return runtime_error(
        fmt::format("{}: {:.1f} MB would take more than half of the {:.1f} MB free", folder_.path(),
                    megabytes(bytes()), megabytes(*free)));
  }
  DUNLIN_ASSIGN_OR_RETURN(
      ArtifactWriter writer,
      ArtifactWriter::create(folder_.entry(key_), {.kind = kKind, .key = key_}));
  chunks_.clear();
  for (const PreparedPart& part : parts_) {
    DUNLIN_ASSIGN_OR_RETURN(const size_t chunk, writer.reserve_chunk(part.name, part.bytes));
    chunks_.emplace(part.name, chunk);
  }
  writer_.emplace(std::move(writer));
  return {};
}

bool PackCache::append(const PreparedPart& part, std::span<const std::byte> bytes) {
  if (!writer_) return false;
  const auto chunk = chunks_.find(part.name);
  DUNLIN_CHECK(chunk != chunks_.end(), part.name);
  const auto written = writer_->fill(chunk->second, bytes);
  if (!written.ok()) give_up(written.error());
  return written.ok();
}

bool PackCache::commit() {
  if (!writer_) return false;
  Result<void> done = check_unchanged();
  if (done.ok()) done = writer_->commit();
  if (!done.ok()) {
    give_up(done.error());
    return false;
  }
  writer_.reset();
  note_kept();
  return true;
}

Result<void> PackCache::check_unchanged() const {
  const auto key_now = key();
  if (key_now.ok() && *key_now == key_) return {};
  return runtime_error(stored_.path() + ": changed while it was read");
}

void PackCache::note_kept() {
  kept_ = true;
  notes_.push_back(fmt::format("kept in {}, {:.1f} MB", folder_.entry(key_), megabytes(bytes())));
}

// All has been read, so what changes from now on changes nothing of the weights.
void PackCache::keep_later(std::vector<PackedPart> parts, std::shared_ptr<const void> memory) {
  DUNLIN_CHECK(job_ == nullptr, "an entry is being written");
  if (key_.empty() || !has_room()) return;
  if (const auto unchanged = check_unchanged(); !unchanged.ok()) return give_up(unchanged.error());
  auto job = BackgroundJob::start(
      [this, parts = std::move(parts), memory = std::move(memory)](const std::atomic<bool>& stop) {
        try {
          outcome_ = write_entry(parts, stop);
        } catch (const std::bad_alloc&) {
          outcome_ = out_of_memory();
        } catch (const std::exception& error) {
          outcome_ = runtime_error(fmt::format("{}: {}", folder_.path(), error.what()));
        }
        writer_.reset();  // removes what is not whole
        if (!outcome_.ok()) warn(outcome_.error());
      });
  if (!job.ok()) return give_up(job.error());
  job_ = std::move(job).value();
  notes_.push_back(fmt::format("{:.1f} MB are written to {} while the model is used",
                               megabytes(bytes()), folder_.entry(key_)));
}

// Whether it became whole; false: it was stopped.
Result<bool> PackCache::write_entry(const std::vector<PackedPart>& parts,
                                    const std::atomic<bool>& stop) {
  DUNLIN_RETURN_IF_ERROR(begin_entry());
  uint64_t unsynchronised = 0;
  for (const PackedPart& each : parts) {
    std::span<const std::byte> left(each.data, static_cast<size_t>(each.part.bytes));
    while (!left.empty()) {
      if (stop) return false;
      const auto piece = left.first(std::min<size_t>(left.size(), kArtifactPieceBytes));
      left = left.subspan(piece.size());
      DUNLIN_RETURN_IF_ERROR(writer_->fill(chunks_.at(each.part.name), piece));
      unsynchronised += piece.size();
      if (unsynchronised < kUnsynchronisedBytes) continue;
      unsynchronised = 0;
      DUNLIN_RETURN_IF_ERROR(writer_->synchronise());
    }
  }
  if (stop) return false;
  DUNLIN_RETURN_IF_ERROR(writer_->commit());
  return true;
}

void PackCache::finish() {
  if (job_ == nullptr) return;
  while (!job_->wait_for(std::chrono::milliseconds(20))) {
    if (settings_.still_waits && !settings_.still_waits()) job_->stop();
  }
  job_.reset();
  if (!outcome_.ok()) {
    decline("not kept: " + outcome_.error().message);
  } else if (!*outcome_) {
    decline("not kept: the process ended before the file was whole");
  } else {
    note_kept();
  }
  if (settings_.ended) settings_.ended(notes_.back());
}

Error PackCache::not_kept() const {
  return usage_error(
      fmt::format("{}: its packed weights cannot be kept on disk, where they would be mapped: {}; "
                  "`dunlin convert {} OUT --to prepared` packs them ahead",
                  stored_.path(), why_not_, stored_.path()));
}

}  // namespace dunlin
