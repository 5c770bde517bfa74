// The fields of a message between two processes of one machine, in order: numbers have eight bytes in the
// machine's order, and texts and lists begin with their length. A reader trusts no length.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <utility>

namespace dunlin::pjrt {

class MessageWriter {
 public:
  MessageWriter& number(uint64_t value);
  MessageWriter& integer(int64_t value) { return number(static_cast<uint64_t>(value)); }
  MessageWriter& text(std::string_view value);
  // All fields of another one.
  MessageWriter& fields(const MessageWriter& other);

  const std::string& bytes() const { return bytes_; }

 private:
  std::string bytes_;
};

class MessageReader {
 public:
  explicit MessageReader(std::string bytes) : bytes_(std::move(bytes)) {}

  // Zero or nothing once the message has ended too early.
  uint64_t number();
  int64_t integer() { return static_cast<int64_t>(number()); }
  std::string text();
  // The length of a list whose elements have at least `bytes_each` (>= 1): no more than the rest of the
  // message can hold.
  size_t count(size_t bytes_each = sizeof(uint64_t));

  // Every field was there, and nothing is left.
  bool is_complete() const { return !is_short_ && at_ == bytes_.size(); }

 private:
  size_t left() const { return bytes_.size() - at_; }

  std::string bytes_;
  size_t at_ = 0;
  bool is_short_ = false;
};

}  // namespace dunlin::pjrt
