#include "cli/line_reader.h"

#include <fmt/format.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstring>
#include <string_view>

#include "cli/interrupt.h"

namespace dunlin {
namespace {

constexpr std::string_view kQuotes = "\"\"\"";

// The lines after the opening """, which `line` followed, up to the closing one.
Result<LineReader::Status> read_quoted(const NextLine& next, std::string line, std::string& text) {
  text = line;
  bool open = !line.ends_with(kQuotes);
  while (open) {
    DUNLIN_ASSIGN_OR_RETURN(const LineReader::Status status, next(true, line));
    if (status == LineReader::Status::interrupted) return status;
    if (status == LineReader::Status::end) break;
    open = !line.ends_with(kQuotes);
    text += '\n' + line;
  }
  if (!open) text.erase(text.size() - kQuotes.size());
  // The marks may have lines of their own.
  if (text.starts_with('\n')) text.erase(0, 1);
  if (!open && text.ends_with('\n')) text.pop_back();
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
      return usage_error(fmt::format("{}: a line has more than {} bytes", name_, kMaxLine));
    if (!wait_for_input(descriptor_)) return Status::interrupted;
    std::array<char, 4096> block;
    const ssize_t count = ::read(descriptor_, block.data(), block.size());
    if (count < 0 && errno == EINTR) return Status::interrupted;
    if (count < 0) return usage_error(fmt::format("{}: {}", name_, std::strerror(errno)));
    ended_ = count == 0;
    buffer_.append(block.data(), static_cast<size_t>(count));
  }
}

Result<LineReader::Status> read_message(const NextLine& next, Message& message) {
  message = {};
  std::string line;
  DUNLIN_ASSIGN_OR_RETURN(LineReader::Status status, next(false, line));
  if (status != LineReader::Status::line) return status;
  if (line.starts_with(kQuotes)) {
    message.quoted = true;
    return read_quoted(next, line.substr(kQuotes.size()), message.text);
  }
  while (line.ends_with('\\')) {
    message.text += line.substr(0, line.size() - 1) + '\n';
    DUNLIN_ASSIGN_OR_RETURN(status, next(true, line));
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
