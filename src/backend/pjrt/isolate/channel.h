// Channel: messages and descriptors over a socket between two processes, each within a time.
#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

#include "backend/pjrt/isolate/message.h"
#include "base/file_descriptor.h"
#include "base/result.h"

namespace dunlin::pjrt {

// Nothing: as long as it takes.
using Deadline = std::optional<std::chrono::steady_clock::time_point>;

enum class Transfer : uint8_t {
  done,
  closed,   // the other side has closed the socket, or ended
  late,     // the deadline came first
  garbled,  // what came is no message
};

// What a message is about; the number is the sender's business.
struct Message {
  uint32_t kind = 0;
  std::string fields = {};
};

class Channel {
 public:
  // More is no message. Programs, compiled or as text, have some MB.
  static constexpr uint64_t kMostBytes = uint64_t{1} << 32;

  explicit Channel(FileDescriptor socket) : socket_(std::move(socket)) {}
  // Two ends. Error (kind device): the system gives no socket.
  static Result<std::pair<FileDescriptor, FileDescriptor>> make_sockets();

  Transfer send(uint32_t kind, std::string_view fields, const Deadline& deadline) const;
  Transfer receive(Message& message, const Deadline& deadline) const;
  // The other side gets a descriptor of its own for the same file.
  Transfer send_descriptor(int descriptor, const Deadline& deadline) const;
  Transfer receive_descriptor(FileDescriptor& descriptor, const Deadline& deadline) const;

 private:
  Transfer send_bytes(std::string_view bytes, const Deadline& deadline) const;
  Transfer receive_bytes(char* into, size_t size, const Deadline& deadline) const;

  FileDescriptor socket_;
};

}  // namespace dunlin::pjrt
