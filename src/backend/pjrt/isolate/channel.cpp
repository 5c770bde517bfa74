#include "backend/pjrt/isolate/channel.h"

#include <poll.h>
#include <sys/socket.h>
#include <sys/uio.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <limits>

namespace dunlin::pjrt {
namespace {

constexpr uint32_t kMagic = 0x504a5244;  // "DRJP"
// What is received is held as it comes, so that a wrong length takes no memory.
constexpr size_t kReceivedAtOnce = size_t{4} << 20;

struct MessageHeader {
  uint32_t magic = kMagic;
  uint32_t kind = 0;
  uint64_t bytes = 0;
};

// For poll(): -1 is forever.
int milliseconds_until(const Deadline& deadline) {
  if (!deadline) return -1;
  const auto left =
      std::chrono::ceil<std::chrono::milliseconds>(*deadline - std::chrono::steady_clock::now());
  return static_cast<int>(std::clamp<int64_t>(left.count(), 0, std::numeric_limits<int>::max()));
}

// Until the socket takes or has bytes, or is closed, which the next call on it will say.
Transfer wait_for(int socket, short events, const Deadline& deadline) {
  for (;;) {
    const int wait = milliseconds_until(deadline);
    pollfd ready = {.fd = socket, .events = events, .revents = 0};
    const int count = ::poll(&ready, 1, wait);
    if (count > 0) return Transfer::done;
    if (count == 0 && wait == 0) return Transfer::late;
    if (count < 0 && errno != EINTR) return Transfer::closed;
  }
}

// Calls `transfer`, which does not block, until it has moved something.
template <typename F>
Transfer move_some(int socket, short events, const Deadline& deadline, ssize_t& moved,
                   F&& transfer) {
  for (;;) {
    moved = transfer();
    if (moved > 0) return Transfer::done;
    if (moved == 0) return Transfer::closed;
    if (errno == EINTR) continue;
    if (errno != EAGAIN) return Transfer::closed;
    if (const Transfer waited = wait_for(socket, events, deadline); waited != Transfer::done)
      return waited;
  }
}

// A byte, and room for one descriptor beside it, so that the system closes any further ones.
struct DescriptorMessage {
  DescriptorMessage() {
    data.iov_base = &byte;
    data.iov_len = 1;
    message.msg_iov = &data;
    message.msg_iovlen = 1;
    message.msg_control = control;
    message.msg_controllen = CMSG_LEN(sizeof(int));
  }
  DescriptorMessage(const DescriptorMessage&) = delete;
  DescriptorMessage& operator=(const DescriptorMessage&) = delete;

  char byte = 0;
  iovec data = {};
  alignas(cmsghdr) char control[CMSG_SPACE(sizeof(int))] = {};
  msghdr message = {};
};

}  // namespace

Result<std::pair<FileDescriptor, FileDescriptor>> Channel::make_sockets() {
  int ends[2] = {-1, -1};
  if (::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) != 0)
    return Error{ErrorKind::device,
                 std::string("no socket for the process of the plug-in: ") + std::strerror(errno)};
  return std::pair(FileDescriptor(ends[0]), FileDescriptor(ends[1]));
}

Transfer Channel::send(uint32_t kind, std::string_view fields, const Deadline& deadline) const {
  const MessageHeader header{.kind = kind, .bytes = fields.size()};
  std::string bytes(sizeof header + fields.size(), '\0');
  std::memcpy(bytes.data(), &header, sizeof header);
  fields.copy(bytes.data() + sizeof header, fields.size());
  return send_bytes(bytes, deadline);
}

Transfer Channel::receive(Message& message, const Deadline& deadline) const {
  MessageHeader header;
  char bytes[sizeof header];
  if (const Transfer got = receive_bytes(bytes, sizeof bytes, deadline); got != Transfer::done)
    return got;
  std::memcpy(&header, bytes, sizeof header);
  if (header.magic != kMagic || header.bytes > kMostBytes) return Transfer::garbled;
  message.kind = header.kind;
  message.fields.clear();
  while (message.fields.size() < header.bytes) {
    const size_t before = message.fields.size();
    const size_t piece = std::min<size_t>(header.bytes - before, kReceivedAtOnce);
    message.fields.resize(before + piece);
    const Transfer got = receive_bytes(message.fields.data() + before, piece, deadline);
    if (got != Transfer::done) return got;
  }
  return Transfer::done;
}

Transfer Channel::send_descriptor(int descriptor, const Deadline& deadline) const {
  DescriptorMessage it;
  cmsghdr* const header = CMSG_FIRSTHDR(&it.message);
  header->cmsg_level = SOL_SOCKET;
  header->cmsg_type = SCM_RIGHTS;
  header->cmsg_len = CMSG_LEN(sizeof descriptor);
  std::memcpy(CMSG_DATA(header), &descriptor, sizeof descriptor);
  ssize_t sent = 0;
  return move_some(socket_.get(), POLLOUT, deadline, sent, [&] {
    return ::sendmsg(socket_.get(), &it.message, MSG_NOSIGNAL | MSG_DONTWAIT);
  });
}

Transfer Channel::receive_descriptor(FileDescriptor& descriptor, const Deadline& deadline) const {
  DescriptorMessage it;
  ssize_t received = 0;
  const Transfer got = move_some(socket_.get(), POLLIN, deadline, received, [&] {
    return ::recvmsg(socket_.get(), &it.message, MSG_CMSG_CLOEXEC | MSG_DONTWAIT);
  });
  if (got != Transfer::done) return got;
  const cmsghdr* const header = CMSG_FIRSTHDR(&it.message);
  if (header == nullptr || header->cmsg_level != SOL_SOCKET || header->cmsg_type != SCM_RIGHTS ||
      header->cmsg_len != CMSG_LEN(sizeof(int))) {
    return Transfer::garbled;
  }
  int number = -1;
  std::memcpy(&number, CMSG_DATA(header), sizeof number);
  descriptor = FileDescriptor(number);
  return Transfer::done;
}

Transfer Channel::send_bytes(std::string_view bytes, const Deadline& deadline) const {
  while (!bytes.empty()) {
    ssize_t sent = 0;
    const Transfer moved = move_some(socket_.get(), POLLOUT, deadline, sent, [&] {
      return ::send(socket_.get(), bytes.data(), bytes.size(), MSG_NOSIGNAL | MSG_DONTWAIT);
    });
    if (moved != Transfer::done) return moved;
    bytes.remove_prefix(static_cast<size_t>(sent));
  }
  return Transfer::done;
}

Transfer Channel::receive_bytes(char* into, size_t size, const Deadline& deadline) const {
  while (size > 0) {
    ssize_t received = 0;
    const Transfer moved = move_some(socket_.get(), POLLIN, deadline, received, [&] {
      return ::recv(socket_.get(), into, size, MSG_DONTWAIT);
    });
    if (moved != Transfer::done) return moved;
    into += received;
    size -= static_cast<size_t>(received);
  }
  return Transfer::done;
}

}  // namespace dunlin::pjrt
