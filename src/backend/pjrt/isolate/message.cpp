#include "backend/pjrt/isolate/message.h"

#include <cstring>

namespace dunlin::pjrt {

MessageWriter& MessageWriter::number(uint64_t value) {
  char bytes[sizeof value];
  std::memcpy(bytes, &value, sizeof value);
  bytes_.append(bytes, sizeof value);
  return *this;
}

MessageWriter& MessageWriter::text(std::string_view value) {
  number(value.size());
  bytes_.append(value);
  return *this;
}

MessageWriter& MessageWriter::fields(const MessageWriter& other) {
  bytes_.append(other.bytes_);
  return *this;
}

uint64_t MessageReader::number() {
  uint64_t value = 0;
  if (left() < sizeof value) {
    is_short_ = true;
    at_ = bytes_.size();
    return 0;
  }
  std::memcpy(&value, bytes_.data() + at_, sizeof value);
  at_ += sizeof value;
  return value;
}

std::string MessageReader::text() {
  const size_t size = count(1);
  std::string value = bytes_.substr(at_, size);
  at_ += size;
  return value;
}

size_t MessageReader::count(size_t bytes_each) {
  const uint64_t size = number();
  if (size <= left() / bytes_each) return static_cast<size_t>(size);
  is_short_ = true;
  at_ = bytes_.size();
  return 0;
}

}  // namespace dunlin::pjrt
