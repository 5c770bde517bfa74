// CountedSource: a ByteSource that counts what is read of another one.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <utility>

#include "base/byte_source.h"

namespace dunlin {

class CountedSource final : public ByteSource {
 public:
  CountedSource(std::shared_ptr<const ByteSource> source, std::shared_ptr<ReadCount> count)
      : source_(std::move(source)), count_(std::move(count)) {}

  Result<void> read_at(uint64_t offset, std::span<std::byte> into) const override {
    count_->bytes += into.size();
    ++count_->reads;
    return source_->read_at(offset, into);
  }
  // Counts the lines, whatever the source reads for them.
  Result<void> read_lines(const ByteLines& lines, std::byte* into,
                          size_t into_step) const override {
    count_->bytes += lines.count * lines.bytes;
    count_->reads += lines.count;
    return source_->read_lines(lines, into, into_step);
  }
  Result<std::optional<HeldBytes>> hold_lines(const ByteLines& lines,
                                              size_t alignment) const override {
    auto held = source_->hold_lines(lines, alignment);
    if (held.ok() && *held) {
      count_->bytes += lines.count * lines.bytes;
      ++count_->reads;
    }
    return held;
  }
  uint64_t size() const override { return source_->size(); }
  const std::string& name() const override { return source_->name(); }

 private:
  std::shared_ptr<const ByteSource> source_;
  std::shared_ptr<ReadCount> count_;
};

}  // namespace dunlin
