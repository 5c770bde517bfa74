#include "hub/local_folder.h"

#include <fmt/format.h>
#include <sys/stat.h>

#include <algorithm>
#include <cstdlib>
#include <ctime>
#include <filesystem>
#include <sstream>
#include <vector>

#include "base/byte_source.h"
#include "hub/checksum.h"
#include "hub/file_lock.h"

namespace dunlin {
namespace {

constexpr uint64_t kLongestNote = 4096;
constexpr size_t kHashedPiece = 1 << 20;

bool has_size(const std::string& path, uint64_t size) {
  std::error_code error;
  return std::filesystem::is_regular_file(path, error) &&
         std::filesystem::file_size(path, error) == size && !error;
}

bool has_checksum(const std::string& path, const HubFile& file) {
  const auto source = open_file(path);
  auto checksum = Checksum::create(*checksum_kind(file.etag), file.size);
  if (!source.ok() || !checksum.ok()) return false;
  std::vector<std::byte> piece(kHashedPiece);
  for (uint64_t at = 0; at < file.size;) {
    const auto bytes = std::span(piece).first(
        static_cast<size_t>(std::min<uint64_t>(kHashedPiece, file.size - at)));
    if (!(*source)->read_at(at, bytes).ok()) return false;
    checksum->update(bytes);
    at += bytes.size();
  }
  return checksum->finish() == file.etag;
}

}  // namespace

LocalFolder::LocalFolder(const std::string& folder)
    : folder_(folder), notes_(folder + "/.cache/huggingface/download/") {}

bool LocalFolder::has_noted(const HubFile& file) const {
  const std::string path = target(file.name);
  const auto text = read_text_file(notes_ + file.name + ".metadata", kLongestNote);
  struct stat status = {};
  if (!text.ok() || !has_size(path, file.size) || ::stat(path.c_str(), &status) != 0) return false;
  std::istringstream lines(*text);
  std::string commit, etag, seconds;
  std::getline(lines, commit);
  std::getline(lines, etag);
  std::getline(lines, seconds);
  // A second more: the file system may round the time of the change.
  return etag == file.etag &&
         static_cast<double>(status.st_mtime) - 1 <= std::strtod(seconds.c_str(), nullptr);
}

bool LocalFolder::has(const HubFile& file) const {
  if (has_noted(file)) return true;
  return has_size(target(file.name), file.size) && has_checksum(target(file.name), file);
}

Result<void> LocalFolder::note(const HubFile& file, const std::string& commit) const {
  const std::string path = notes_ + file.name + ".metadata";
  DUNLIN_ASSIGN_OR_RETURN(const FileLock held, FileLock::acquire(lock(file.name), {}));
  const std::string text = fmt::format("{}\n{}\n{}.0\n", commit, file.etag, std::time(nullptr));
  return write_file_atomically(path, std::as_bytes(std::span(text)));
}

}  // namespace dunlin
