#include "hub/hf_cache.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <cstdint>
#include <filesystem>

#include "base/byte_source.h"
#include "hub/checksum.h"
#include "hub/file_lock.h"

namespace dunlin {
namespace {

namespace fs = std::filesystem;

constexpr uint64_t kLongestRef = 4096;
constexpr size_t kMostFiles = 100'000;

std::string folder_name(const std::string& repo) {
  const size_t slash = repo.find('/');
  if (slash == std::string::npos) return "models--" + repo;
  return fmt::format("models--{}--{}", repo.substr(0, slash), repo.substr(slash + 1));
}

Result<void> move_into_place(const std::string& temporary, const std::string& path) {
  if (::rename(temporary.c_str(), path.c_str()) != 0) {
    const int code = errno;
    ::unlink(temporary.c_str());
    return path_error(path, code);
  }
  synchronise_folder(fs::path(path).parent_path());
  return {};
}

}  // namespace

bool is_commit(const std::string& text) {
  return checksum_kind(text) == ChecksumKind::git_sha1;
}

HfCache::HfCache(const std::string& cache, const std::string& repo)
    : folder_(cache + "/" + folder_name(repo)), locks_(cache + "/.locks/" + folder_name(repo)) {}

std::optional<std::string> HfCache::find_commit(const std::string& revision) const {
  std::string commit = revision;
  if (const auto text = read_text_file(folder_ + "/refs/" + revision, kLongestRef); text.ok())
    commit = text->substr(0, text->find_last_not_of(" \t\r\n") + 1);
  std::error_code ignored;
  if (!is_commit(commit) || !fs::is_directory(snapshot(commit), ignored)) return std::nullopt;
  return commit;
}

std::vector<std::string> HfCache::files(const std::string& commit) const {
  const fs::path root = snapshot(commit);
  std::vector<std::string> names;
  std::error_code error;
  // Links to folders are not followed: there are none.
  for (fs::recursive_directory_iterator it(root, error), end;
       !error && it != end && names.size() < kMostFiles; it.increment(error)) {
    std::error_code unreadable;
    if (it->is_regular_file(unreadable)) names.push_back(it->path().lexically_relative(root));
  }
  std::ranges::sort(names);
  return names;
}

Result<void> HfCache::link(const std::string& commit, const std::string& file,
                           const std::string& etag) const {
  const fs::path link = snapshot(commit) + "/" + file;
  const std::string target = fs::path(blob(etag)).lexically_relative(link.parent_path());
  DUNLIN_RETURN_IF_ERROR(make_folders(link.parent_path()));
  std::error_code ignored;
  if (fs::read_symlink(link, ignored) == target) return {};
  const std::string temporary = temporary_name();
  if (::symlink(target.c_str(), temporary.c_str()) != 0) {
    return path_error(link, errno)
        .with_context("no symbolic link can be made here, --local-dir needs none");
  }
  return move_into_place(temporary, link);
}

Result<void> HfCache::set_commit(const std::string& revision, const std::string& commit) const {
  if (revision == commit) return {};
  const std::string path = folder_ + "/refs/" + revision;
  if (const auto text = read_text_file(path, kLongestRef); text.ok() && *text == commit) return {};
  DUNLIN_RETURN_IF_ERROR(make_folders(fs::path(path).parent_path()));
  const std::string temporary = temporary_name();
  const FileDescriptor fd(::open(temporary.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666));
  if (fd.get() < 0) return path_error(path, errno);
  errno = ENOSPC;  // of a write that is cut short
  const bool written = ::write(fd.get(), commit.data(), commit.size()) == std::ssize(commit) &&
                       ::fsync(fd.get()) == 0;
  if (!written) {
    const int code = errno;
    ::unlink(temporary.c_str());
    return path_error(path, code);
  }
  return move_into_place(temporary, path);
}

// Of this process and call alone: two may publish the same model. What a killed one leaves there is
// no file of a snapshot.
std::string HfCache::temporary_name() const {
  static std::atomic<uint64_t> count = 0;
  const std::string name = fmt::format("{}/.{}.{}.tmp", folder_, ::getpid(), count++);
  ::unlink(name.c_str());
  return name;
}

}  // namespace dunlin
