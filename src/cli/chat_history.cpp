#include "cli/chat_history.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <filesystem>
#include <span>

#include "base/byte_source.h"
#include "base/file_descriptor.h"
#include "cli/read_input.h"

namespace dunlin {
namespace {

constexpr uint64_t kMostHistoryBytes = 64u << 20;

// A line feed within an entry is \n, a backslash is doubled.
std::string escaped(const std::string& entry) {
  std::string line;
  for (const char each : entry) {
    if (each == '\n') {
      line += "\\n";
    } else {
      line += each;
      if (each == '\\') line += each;
    }
  }
  return line;
}

std::string unescaped(const std::string& line) {
  std::string entry;
  for (size_t i = 0; i < line.size(); ++i) {
    if (line[i] != '\\' || i + 1 == line.size()) {
      entry += line[i];
    } else {
      entry += line[++i] == 'n' ? '\n' : line[i];
    }
  }
  return entry;
}

Error history_error(const std::string& path) {
  return runtime_error(fmt::format("{}: {}", path, std::strerror(errno)));
}

Result<void> append_locked(int descriptor, const std::string& path, const std::string& entry) {
  const std::string line = escaped(entry) + '\n';
  const ssize_t written = ::write(descriptor, line.data(), line.size());
  if (written >= 0 && written < static_cast<ssize_t>(line.size())) errno = ENOSPC;
  if (written != static_cast<ssize_t>(line.size()) || ::lseek(descriptor, 0, SEEK_SET) != 0)
    return history_error(path);
  DUNLIN_ASSIGN_OR_RETURN(const std::string text,
                          read_descriptor(descriptor, path, kMostHistoryBytes));
  const auto lines = text_lines(text);
  if (lines.size() <= 2 * kMostHistoryEntries) return {};
  std::string kept;
  for (auto each = lines.end() - static_cast<ptrdiff_t>(kMostHistoryEntries); each != lines.end();
       ++each) {
    kept += *each + '\n';
  }
  const auto replaced = write_file_atomically(path, std::as_bytes(std::span(kept)));
  ::chmod(path.c_str(), 0600);
  return replaced;
}

}  // namespace

std::vector<std::string> read_history(const std::string& path) {
  struct stat info = {};
  if (::stat(path.c_str(), &info) != 0 || !S_ISREG(info.st_mode)) return {};
  const auto text = read_user_file(path, kMostHistoryBytes);
  if (!text.ok()) return {};
  std::vector<std::string> entries = text_lines(*text);
  if (entries.size() > kMostHistoryEntries)
    entries.erase(entries.begin(), entries.end() - static_cast<ptrdiff_t>(kMostHistoryEntries));
  for (std::string& each : entries) each = unescaped(each);
  return entries;
}

Result<void> append_history(const std::string& path, const std::string& entry) {
  std::error_code ignored;
  const std::string folder = std::filesystem::path(path).parent_path().string();
  if (std::filesystem::create_directories(folder, ignored)) ::chmod(folder.c_str(), 0700);
  for (;;) {
    const FileDescriptor file(
        ::open(path.c_str(), O_RDWR | O_CREAT | O_APPEND | O_CLOEXEC | O_NONBLOCK, 0600));
    if (file.get() < 0 || ::flock(file.get(), LOCK_EX) != 0) return history_error(path);
    // Another chat may have put a shorter file in its place.
    if (file.is_named(path)) return append_locked(file.get(), path, entry);
  }
}

}  // namespace dunlin
