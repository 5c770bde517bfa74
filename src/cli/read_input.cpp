#include "cli/read_input.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <poll.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <sstream>

namespace dunlin {
namespace {

using Clock = std::chrono::steady_clock;

Error input_error(const std::string& name, int code) {
  return usage_error(fmt::format("{}: {}", name, std::strerror(code)));
}

// Whether there is something to read, or the end, before the deadline.
bool wait_for_input(int descriptor, Clock::time_point deadline) {
  for (;;) {
    const auto left =
        std::chrono::duration_cast<std::chrono::milliseconds>(deadline - Clock::now());
    pollfd event = {.fd = descriptor, .events = POLLIN, .revents = 0};
    const int ready = ::poll(&event, 1, static_cast<int>(std::max<int64_t>(0, left.count())));
    if (ready >= 0 || errno != EINTR) return ready != 0;
  }
}

std::string name_of(const std::string& path) {
  return path == "-" ? "stdin" : path;
}

}  // namespace

Result<std::string> read_descriptor(int descriptor, const std::string& name, uint64_t limit) {
  std::string text;
  std::array<char, 1 << 16> block;
  for (;;) {
    const ssize_t count = ::read(descriptor, block.data(), block.size());
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) return input_error(name, errno);
    if (count == 0) return text;
    text.append(block.data(), static_cast<size_t>(count));
    if (text.size() > limit)
      return usage_error(fmt::format("{}: more than {} bytes of text", name, limit));
  }
}

std::vector<std::string> text_lines(const std::string& text) {
  std::vector<std::string> lines;
  std::istringstream stream(text);
  for (std::string line; std::getline(stream, line);) lines.push_back(line);
  return lines;
}

Result<FileDescriptor> open_user_file(const std::string& path) {
  FileDescriptor file(path == "-" ? ::dup(STDIN_FILENO)
                                  : ::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (file.get() < 0) return input_error(name_of(path), errno);
  return file;
}

Result<std::string> read_user_file(const std::string& path, uint64_t limit) {
  DUNLIN_ASSIGN_OR_RETURN(const FileDescriptor file, open_user_file(path));
  return read_descriptor(file.get(), name_of(path), limit);
}

Result<OfferedInput> read_offered_stdin(Clock::time_point deadline) {
  struct stat info = {};
  if (::fstat(STDIN_FILENO, &info) != 0) return OfferedInput{};
  const bool pipe = S_ISFIFO(info.st_mode) || S_ISSOCK(info.st_mode);
  if (!pipe && !S_ISREG(info.st_mode)) return OfferedInput{};
  if (pipe && !wait_for_input(STDIN_FILENO, deadline)) return OfferedInput{.silent = true};
  DUNLIN_ASSIGN_OR_RETURN(std::string text,
                          read_descriptor(STDIN_FILENO, "stdin", kMostPromptBytes));
  return OfferedInput{.text = std::move(text)};
}

}  // namespace dunlin
