// Reads the header of a file front to back.
#include "checkpoint/buffered_reader.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstring>

namespace dunlin {
namespace {

constexpr uint64_t kBufferBytes = 64 << 10;

}  // namespace

BufferedReader::BufferedReader(const ByteSource& source, uint64_t limit)
    : source_(source), end_(std::min(source.size(), limit)) {}

Result<void> BufferedReader::read(std::span<std::byte> into, std::string_view what) {
  if (into.size() > remaining()) return too_short(what);
  while (!into.empty()) {
    if (position_ < buffer_start_ || position_ >= buffer_start_ + buffer_.size()) {
      buffer_start_ = position_;
      buffer_.resize(std::min(kBufferBytes, remaining()));
      DUNLIN_RETURN_IF_ERROR(source_.read_at(buffer_start_, buffer_));
    }
    const uint64_t begin = position_ - buffer_start_;
    const uint64_t count = std::min<uint64_t>(into.size(), buffer_.size() - begin);
    std::memcpy(into.data(), buffer_.data() + begin, count);
    into = into.subspan(count);
    position_ += count;
  }
  return {};
}

Result<std::string> BufferedReader::text(uint64_t length, std::string_view what) {
  if (length > remaining()) return too_short(what);
  std::string text(length, '\0');
  DUNLIN_RETURN_IF_ERROR(read(std::as_writable_bytes(std::span(text)), what));
  return text;
}

Error BufferedReader::too_short(std::string_view what) const {
  if (end_ < source_.size()) {
    return model_error(fmt::format("{}: {} goes beyond the {} bytes that a header may have",
                                   source_.name(), what, end_));
  }
  return model_error(
      fmt::format("{}: the file ends ({} bytes) inside {}", source_.name(), end_, what));
}

}  // namespace dunlin
