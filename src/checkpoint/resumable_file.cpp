#include "checkpoint/resumable_file.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <cstring>
#include <filesystem>
#include <string_view>
#include <utility>

#include "base/byte_source.h"
#include "base/check.h"
#include "base/disk_space.h"

namespace dunlin {
namespace {

constexpr const char* kTemporarySuffix = ".tmp";  // AtomicFile's
constexpr const char* kListSuffix = ".parts";
constexpr uint64_t kMostListBytes = 64u << 20;
constexpr size_t kEndDigits = 16;
constexpr size_t kLineBytes = kEndDigits + 1 + Xxh3Hash::kDigits + 1;
constexpr size_t kReadBytes = 1 << 20;

}  // namespace

Result<ResumableFile> ResumableFile::create(const std::string& path, std::string key) {
  const auto leftover = key.empty() ? AtomicFile::Leftover::discard : AtomicFile::Leftover::keep;
  DUNLIN_ASSIGN_OR_RETURN(AtomicFile file, AtomicFile::create(path, leftover));
  return ResumableFile(path, std::move(file), std::move(key));
}

ResumableFile::ResumableFile(std::string path, AtomicFile file, std::string key)
    : path_(std::move(path)), file_(std::move(file)), key_(std::move(key)) {}

// While the file's lock is held: the list belongs to it.
ResumableFile::~ResumableFile() {
  if (!file_.temporary().empty() && !key_.empty() && !keeps_parts_) ::unlink(list_path().c_str());
}

std::string ResumableFile::list_path() const {
  return file_.temporary() + kListSuffix;
}

void ResumableFile::forget_parts(const std::string& path) {
  ::unlink((path + kTemporarySuffix + kListSuffix).c_str());
}

bool ResumableFile::is_unfinished(const std::string& path) {
  std::error_code ignored;
  return path.ends_with(kTemporarySuffix) && std::filesystem::exists(path + kListSuffix, ignored);
}

Result<void> ResumableFile::begin(std::span<const std::byte> header, uint64_t file_bytes) {
  DUNLIN_CHECK(position_ == 0 && !writing_, "the first part comes first");
  hash_.bytes(header);
  const std::string hash = hash_.digits();
  hash_.reset();
  if (!key_.empty()) left_ = read_list();
  if (left_.empty() || left_.front().end != header.size() || left_.front().hash != hash) {
    left_.clear();
    DUNLIN_RETURN_IF_ERROR(go_on());
  }
  keep_parts(left_.size() > 1);
  const uint64_t there = left_.empty() ? 0 : left_.back().end;
  DUNLIN_RETURN_IF_ERROR(
      check_disk_space(path_, file_.temporary(), file_bytes - std::min(file_bytes, there)));
  DUNLIN_ASSIGN_OR_RETURN(const bool same, skip_part(header.size()));
  if (same) return {};
  DUNLIN_RETURN_IF_ERROR(write(header));
  return end_part();
}

// What lies behind the first line that is none is of no use.
std::vector<ResumableFile::Part> ResumableFile::read_list() const {
  const auto text = read_text_file(list_path(), kMostListBytes);
  if (!text.ok() || !text->starts_with(key_ + '\n')) return {};
  std::vector<Part> parts;
  std::string_view rest = std::string_view(*text).substr(key_.size() + 1);
  for (; rest.size() >= kLineBytes && rest[kLineBytes - 1] == '\n';
       rest.remove_prefix(kLineBytes)) {
    Part part;
    const auto end = std::from_chars(rest.data(), rest.data() + kEndDigits, part.end, 16);
    if (end.ptr != rest.data() + kEndDigits) break;
    part.hash = rest.substr(kEndDigits + 1, Xxh3Hash::kDigits);
    parts.push_back(std::move(part));
  }
  return parts;
}

bool ResumableFile::agrees(const Part& part) const {
  const auto source = open_file(file_.temporary());
  if (!source.ok() || part.end > (*source)->size()) return false;
  Xxh3Hash hash;
  std::vector<std::byte> piece;
  for (uint64_t at = position_; at < part.end; at += piece.size()) {
    piece.resize(std::min<uint64_t>(kReadBytes, part.end - at));
    if (!(*source)->read_at(at, piece).ok()) return false;
    hash.bytes(piece);
  }
  return hash.digits() == part.hash;
}

Result<bool> ResumableFile::skip_part(uint64_t bytes) {
  if (writing_ || parts_ == left_.size()) return false;
  const Part& part = left_[parts_];
  if (part.end != position_ + bytes || !agrees(part)) {
    DUNLIN_RETURN_IF_ERROR(go_on());
    return false;
  }
  position_ = part.end;
  note_part();
  return true;
}

// Drops what is not whole from both files.
Result<void> ResumableFile::go_on() {
  DUNLIN_RETURN_IF_ERROR(file_.truncate(position_));
  writing_ = true;
  keep_parts(parts_ > 1);
  if (key_.empty()) return {};
  list_ = FileDescriptor(
      ::open(list_path().c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC | O_NOFOLLOW, 0666));
  const size_t good = parts_ == 0 ? 0 : key_.size() + 1 + parts_ * kLineBytes;
  if (list_.get() < 0 || ::ftruncate(list_.get(), static_cast<off_t>(good)) != 0)
    return runtime_error(fmt::format("{}: {}", list_path(), std::strerror(errno)));
  return parts_ == 0 ? append_to_list(key_ + '\n') : Result<void>();
}

Result<void> ResumableFile::write(std::span<const std::byte> bytes) {
  if (!writing_) DUNLIN_RETURN_IF_ERROR(go_on());
  hash_.bytes(bytes);
  position_ += bytes.size();
  return file_.write(bytes);
}

Result<void> ResumableFile::write_ahead(uint64_t part_end, std::span<const std::byte> bytes) {
  DUNLIN_CHECK(part_end >= position_, "the next part begins before the end of this one");
  if (!writing_) DUNLIN_RETURN_IF_ERROR(go_on());
  DUNLIN_RETURN_IF_ERROR(file_.overwrite(part_end + ahead_bytes_, bytes));
  ahead_hash_.bytes(bytes);
  ahead_bytes_ += bytes.size();
  return {};
}

Result<void> ResumableFile::end_part() {
  if (!key_.empty()) {
    DUNLIN_RETURN_IF_ERROR(append_to_list(fmt::format("{:016x} {}\n", position_, hash_.digits())));
    hash_.reset();
    note_part();
  }
  if (ahead_bytes_ == 0) return {};
  std::swap(hash_, ahead_hash_);
  ahead_hash_.reset();
  position_ += std::exchange(ahead_bytes_, 0);
  return file_.truncate(position_);
}

void ResumableFile::note_part() {
  ++parts_;
  keep_parts(keeps_parts_ || parts_ > 1);
}

void ResumableFile::keep_parts(bool stay) {
  keeps_parts_ = stay;
  file_.keep(stay);
}

Result<void> ResumableFile::append_to_list(const std::string& text) {
  errno = ENOSPC;  // of a write that is cut short
  if (::write(list_.get(), text.data(), text.size()) == static_cast<ssize_t>(text.size()))
    return {};
  return runtime_error(fmt::format("{}: {}", path_, std::strerror(errno)));
}

Result<void> ResumableFile::commit() {
  if (!writing_) DUNLIN_RETURN_IF_ERROR(go_on());
  const std::string list = list_path();
  DUNLIN_RETURN_IF_ERROR(file_.commit());
  if (!key_.empty()) ::unlink(list.c_str());
  return {};
}

Error resumable_error(Error error, const std::string& temporary) {
  error.message +=
      fmt::format("; {} holds what is done, and the same command goes on from there", temporary);
  return error;
}

}  // namespace dunlin
