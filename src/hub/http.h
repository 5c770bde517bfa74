// HttpClient: GET and HEAD over one libcurl handle, which keeps its connection. A body that breaks off is asked for again
// from where it broke; a server that is busy is asked again later.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <utility>

#include "base/result.h"

namespace dunlin {

inline Error network_error(std::string message) {
  return {ErrorKind::network, std::move(message)};
}

struct HttpOptions {
  std::string user_agent = "dunlin";
  std::chrono::milliseconds connect_timeout{10'000};
  std::chrono::seconds stall_timeout{30};  // with less than 1 KB/s
  // Tries in a row that bring not one byte of a body further, and the pauses between them: each is twice the one before.
  int attempts = 6;
  std::chrono::milliseconds first_pause{500};
  std::chrono::milliseconds longest_pause{60'000};  // also of those that a server asks for
  std::function<bool()> cancelled = {};             // asked at least once a second
};

struct HttpRequest {
  std::string url = {};
  std::string token = {};  // "Authorization: Bearer", for the scheme, host and port of `url` alone
  bool head = false;
  // Whether a server that cannot be reached is tried again: not for the first request of a command, whose user waits.
  bool retry_connection = true;
};

struct HttpResponse {
  int status = 0;
  // Names in lower case. Of redirected requests the first response that has a header counts: the hub says what a file is,
  // the server it leads to does not know.
  std::map<std::string, std::string> headers = {};

  std::string header(const std::string& name) const;  // "" when it is not there
  bool ok() const { return status >= 200 && status < 300; }
};

// Where the body of a successful response goes.
class HttpBody {
 public:
  virtual ~HttpBody() = default;

  // Bytes that are here already; the request asks for those after them.
  virtual uint64_t offset() const { return 0; }
  // What comes begins at `offset`: offset(), or 0 when the server sends all of it again.
  virtual Result<void> begin(uint64_t offset) = 0;
  virtual Result<void> write(std::span<const std::byte> bytes) = 0;
  // After the end of a response: it was cut short where the server has not said how long it is.
  virtual bool incomplete() const { return false; }
};

// A body in memory; one above `limit` bytes is an error.
class TextBody final : public HttpBody {
 public:
  explicit TextBody(uint64_t limit) : limit_(limit) {}
  Result<void> begin(uint64_t offset) override;
  Result<void> write(std::span<const std::byte> bytes) override;
  const std::string& text() const { return text_; }

 private:
  uint64_t limit_;
  std::string text_ = {};
};

class HttpClient {
 public:
  static Result<HttpClient> create(HttpOptions options);

  HttpClient(HttpClient&&) noexcept;
  HttpClient& operator=(HttpClient&&) noexcept;
  ~HttpClient();

  // Follows redirects, to https only; from http to http too. Any status is a response, but for 408, 429 and 5xx, which
  // are tried again first. Errors: of kind network, naming `url`; what `body` returns; "interrupted" once cancelled.
  Result<HttpResponse> send(const HttpRequest& request, HttpBody& body);

 private:
  struct Transfer;
  struct Outcome;
  class Handle;
  explicit HttpClient(HttpOptions options);
  Outcome follow_redirects(const HttpRequest& request, HttpBody& body);
  Outcome transfer(const HttpRequest& request, const std::string& url, bool authorized,
                   HttpBody& body);
  Result<void> pause(std::chrono::milliseconds duration) const;
  bool cancelled() const { return options_.cancelled && options_.cancelled(); }

  HttpOptions options_;
  std::unique_ptr<Handle> handle_;
};

}  // namespace dunlin
