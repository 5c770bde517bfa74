#include "support/http_server.h"

#include <arpa/inet.h>
#include <fmt/format.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cctype>
#include <condition_variable>
#include <list>
#include <mutex>
#include <set>
#include <sstream>
#include <stdexcept>
#include <thread>

namespace dunlin {
namespace {

constexpr size_t kLongestHead = 64 << 10;

bool send_all(int socket, const char* data, size_t size) {
  while (size > 0) {
    const ssize_t count = ::send(socket, data, size, MSG_NOSIGNAL);
    if (count <= 0) return false;
    data += count;
    size -= static_cast<size_t>(count);
  }
  return true;
}

// Up to the empty line; "" when the peer has gone before.
std::string read_head(int socket) {
  std::string head;
  char byte = 0;
  while (!head.ends_with("\r\n\r\n") && head.size() < kLongestHead) {
    if (::recv(socket, &byte, 1, 0) != 1) return {};
    head += byte;
  }
  return head;
}

ServedRequest parse_head(const std::string& head) {
  ServedRequest request;
  std::istringstream lines(head);
  lines >> request.method >> request.target;
  std::string line;
  std::getline(lines, line);
  while (std::getline(lines, line) && line != "\r") {
    const size_t colon = line.find(':');
    if (colon == std::string::npos) continue;
    std::string name = line.substr(0, colon);
    std::ranges::transform(name, name.begin(), [](unsigned char c) { return std::tolower(c); });
    const size_t begin = line.find_first_not_of(' ', colon + 1);
    request.headers[name] = line.substr(begin, line.find_last_not_of("\r\n") + 1 - begin);
  }
  return request;
}

}  // namespace

struct HttpServer::State {
  explicit State(Handler handle) : handler(std::move(handle)) {}

  void accept_all() {
    for (;;) {
      const int socket = ::accept(listener, nullptr, nullptr);
      const std::lock_guard lock(mutex);
      if (stopping) {
        if (socket >= 0) ::close(socket);
        return;
      }
      if (socket < 0) continue;
      open.insert(socket);
      threads.emplace_back([this, socket] {
        serve(socket);
        const std::lock_guard guard(mutex);
        open.erase(socket);
        ::close(socket);
      });
    }
  }

  void serve(int socket) {
    const std::string head = read_head(socket);
    if (head.empty()) return;
    const ServedRequest request = parse_head(head);
    {
      const std::lock_guard lock(mutex);
      requests.push_back(request);
    }
    const ServedReply reply = handler(request);
    std::string text = fmt::format("HTTP/1.1 {} Status\r\nConnection: close\r\n", reply.status);
    for (const auto& [name, value] : reply.headers) text += fmt::format("{}: {}\r\n", name, value);
    if (reply.promise_length) text += fmt::format("Content-Length: {}\r\n", reply.body.size());
    text += "\r\n";
    if (!send_all(socket, text.data(), text.size()) || request.method == "HEAD") return;
    send_body(socket, reply);
    ::shutdown(socket, SHUT_RDWR);
  }

  void send_body(int socket, const ServedReply& reply) {
    const size_t end = std::min(reply.cut.value_or(reply.body.size()), reply.body.size());
    const size_t piece = reply.piece == 0 ? std::max<size_t>(end, 1) : reply.piece;
    for (size_t at = 0; at < end; at += piece) {
      if (!send_all(socket, reply.body.data() + at, std::min(piece, end - at))) return;
      std::unique_lock lock(mutex);
      if (stop.wait_for(lock, reply.pause, [this] { return stopping; })) return;
    }
  }

  Handler handler;
  int listener = -1;
  int port = 0;
  std::mutex mutex;  // of what follows
  std::condition_variable stop;
  bool stopping = false;
  std::vector<ServedRequest> requests;
  std::set<int> open;
  std::list<std::thread> threads;
  std::thread acceptor;
};

std::string ServedRequest::header(const std::string& name) const {
  const auto it = headers.find(name);
  return it == headers.end() ? std::string() : it->second;
}

ServedReply in_range(const ServedRequest& request, ServedReply whole) {
  const std::string range = request.header("range");
  if (!range.starts_with("bytes=")) return whole;
  const size_t first = std::stoul(range.substr(6));
  const size_t size = whole.body.size();
  if (first >= size) {
    return {.status = 416, .headers = {{"Content-Range", fmt::format("bytes */{}", size)}}};
  }
  whole.status = 206;
  whole.headers.emplace_back("Content-Range", fmt::format("bytes {}-{}/{}", first, size - 1, size));
  whole.body.erase(0, first);
  return whole;
}

HttpServer::HttpServer(Handler handler) : state_(std::make_unique<State>(std::move(handler))) {
  state_->listener = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  sockaddr_in address = {};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t length = sizeof(address);
  auto* const generic = reinterpret_cast<sockaddr*>(&address);
  if (::bind(state_->listener, generic, length) != 0 || ::listen(state_->listener, 64) != 0 ||
      ::getsockname(state_->listener, generic, &length) != 0)
    throw std::runtime_error("no port to listen at");
  state_->port = ntohs(address.sin_port);
  state_->acceptor = std::thread([this] { state_->accept_all(); });
}

HttpServer::~HttpServer() {
  {
    const std::lock_guard lock(state_->mutex);
    state_->stopping = true;
    state_->stop.notify_all();
    ::shutdown(state_->listener, SHUT_RDWR);
    for (const int socket : state_->open) ::shutdown(socket, SHUT_RDWR);
  }
  state_->acceptor.join();
  for (std::thread& thread : state_->threads) thread.join();
  ::close(state_->listener);
}

std::string HttpServer::url() const {
  return fmt::format("http://127.0.0.1:{}", state_->port);
}

std::vector<ServedRequest> HttpServer::requests() const {
  const std::lock_guard lock(state_->mutex);
  return state_->requests;
}

}  // namespace dunlin
