#include "cli/line_reader.h"

#include <fmt/format.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstring>
#include <string_view>
#include <vector>

namespace dunlin {
namespace {

constexpr std::string_view kQuotes = "\"\"\"";

// The lines after the opening """, which `line` followed, up to the closing one.
Result<LineReader::Status> read_quoted(LineReader& reader, const std::function<void(bool)>& prompt,
                                       std::string line, std::string& text) {
  std::vector<std::string> lines;
  bool open = !line.ends_with(kQuotes);
  if (!line.empty()) lines.push_back(line);
  while (open) {
    prompt(true);
    DUNLIN_ASSIGN_OR_RETURN(const LineReader::Status status, reader.read(line));
    if (status == LineReader::Status::interrupted) return status;
    if (status == LineReader::Status::end) break;
    open = !line.ends_with(kQuotes);
    lines.push_back(line);
  }
  if (!open) {
    lines.back().erase(lines.back().size() - kQuotes.size());
    if (lines.back().empty()) lines.pop_back();
  }
  text = fmt::format("{}", fmt::join(lines, "\n"));
  return LineReader::Status::line;
}

}  // namespace

Result<LineReader::Status> LineReader::read(std::string& line) {
  for (;;) {
    const size_t feed = buffer_.find('\n', searched_);
    if (feed != std::string::npos || (ended_ && !buffer_.empty())) {
      line = buffer_.substr(0, feed);
      buffer_.erase(0, feed == std::string::npos ? feed : feed + 1);
      searched_ = 0;
      if (!line.empty() && line.back() == '\r') line.pop_back();
      return Status::line;
    }
    if (ended_) return Status::end;
    searched_ = buffer_.size();
    if (searched_ > kMaxLine)
      return usage_error(fmt::format("a line of the input has more than {} bytes", kMaxLine));
    std::array<char, 4096> block;
    const ssize_t count = ::read(descriptor_, block.data(), block.size());
    if (count < 0 && errno == EINTR) return Status::interrupted;
    if (count < 0) return runtime_error(fmt::format("stdin: {}", std::strerror(errno)));
    ended_ = count == 0;
    buffer_.append(block.data(), static_cast<size_t>(count));
  }
}

Result<LineReader::Status> read_message(LineReader& reader, const std::function<void(bool)>& prompt,
                                        Message& message) {
  message = {};
  std::string line;
  prompt(false);
  DUNLIN_ASSIGN_OR_RETURN(LineReader::Status status, reader.read(line));
  if (status != LineReader::Status::line) return status;
  if (line.starts_with(kQuotes)) {
    message.quoted = true;
    return read_quoted(reader, prompt, line.substr(kQuotes.size()), message.text);
  }
  while (line.ends_with('\\')) {
    message.text += line.substr(0, line.size() - 1) + '\n';
    prompt(true);
    DUNLIN_ASSIGN_OR_RETURN(status, reader.read(line));
    if (status == LineReader::Status::interrupted) return status;
    if (status == LineReader::Status::end) {
      message.text.pop_back();
      return LineReader::Status::line;
    }
  }
  message.text += line;
  return LineReader::Status::line;
}

}  // namespace dunlin
