// A small HTTP/1.1 server on a thread, for tests of what downloads: on a free port of this machine,
// one request for each connection, with the faults of real networks on request.
#pragma once

#include <chrono>
#include <cstddef>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

namespace dunlin {

struct ServedRequest {
  std::string method = {}, target = {};             // the target with its query
  std::map<std::string, std::string> headers = {};  // names in lower case

  std::string header(const std::string& name) const;  // "" when it is not there
};

struct ServedReply {
  int status = 200;
  std::vector<std::pair<std::string, std::string>> headers = {};
  std::string body = {};
  // The connection ends after so many bytes of the body, though its length is promised.
  std::optional<size_t> cut = {};
  bool promise_length = true;  // false: no Content-Length; the end of the connection is the end
  // The body goes out in pieces with pauses between them; 0: all at once.
  size_t piece = 0;
  std::chrono::milliseconds pause{0};
};

// The reply to a request with "Range: bytes=N-", where `whole` is that to one without.
ServedReply in_range(const ServedRequest& request, ServedReply whole);

class HttpServer {
 public:
  // Called from a thread for each connection.
  using Handler = std::function<ServedReply(const ServedRequest&)>;

  explicit HttpServer(Handler handler);  // throws when there is no port
  ~HttpServer();                         // ends what is open

  std::string url() const;  // "http://127.0.0.1:PORT"
  std::vector<ServedRequest> requests() const;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace dunlin
