#include "hub/http.h"

#include <curl/curl.h>
#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <string_view>
#include <thread>
#include <utility>

#include "base/ascii.h"
#include "hub/url.h"

namespace dunlin {
namespace {

using std::chrono::milliseconds;

constexpr int kMostRedirects = 10;
constexpr long kStallBytesPerSecond = 1000;
constexpr long kReceiveBuffer = 512 << 10;  // the largest that libcurl takes
// What is read of the body of an error, so that the connection can be used again.
constexpr uint64_t kMostDiscarded = 64 << 10;
constexpr size_t kMostHeaders = 100;
constexpr size_t kLongestHeader = 4096;

void initialise_curl() {
  static const CURLcode kDone = curl_global_init(CURL_GLOBAL_DEFAULT);
  (void)kDone;
}

// The server is there, but not just now (RFC 9110, 15.5.9 and 15.6; RFC 6585, 4).
bool is_temporary(int status) {
  return status == 408 || status == 429 || (status >= 500 && status < 600);
}

// Trying again does not help.
bool is_final(CURLcode code) {
  constexpr CURLcode kFinal[] = {
      CURLE_PEER_FAILED_VERIFICATION, CURLE_SSL_CACERT_BADFILE, CURLE_SSL_CERTPROBLEM,
      CURLE_UNSUPPORTED_PROTOCOL,     CURLE_URL_MALFORMAT,      CURLE_OUT_OF_MEMORY};
  return std::ranges::find(kFinal, code) != std::end(kFinal);
}

bool is_unreachable(CURLcode code) {
  return code == CURLE_COULDNT_RESOLVE_PROXY || code == CURLE_COULDNT_RESOLVE_HOST ||
         code == CURLE_COULDNT_CONNECT;
}

std::string_view trim(std::string_view text) {
  const size_t first = text.find_first_not_of(" \t\r\n");
  if (first == std::string_view::npos) return {};
  return text.substr(first, text.find_last_not_of(" \t\r\n") - first + 1);
}

// The first byte of "bytes 100-199/200".
std::optional<uint64_t> range_start(std::string_view header) {
  constexpr std::string_view kUnit = "bytes ";
  uint64_t start = 0;
  if (!header.starts_with(kUnit)) return std::nullopt;
  const char* const first = header.data() + kUnit.size();
  const auto [end, error] = std::from_chars(first, header.data() + header.size(), start);
  if (error != std::errc() || end == header.data() + header.size() || *end != '-')
    return std::nullopt;
  return start;
}

struct FreeList {
  void operator()(curl_slist* list) const { curl_slist_free_all(list); }
};
using HeaderList = std::unique_ptr<curl_slist, FreeList>;

}  // namespace

class HttpClient::Handle {
 public:
  Handle() : curl_(curl_easy_init(), curl_easy_cleanup) {}
  CURL* get() const { return curl_.get(); }

 private:
  std::unique_ptr<CURL, decltype(&curl_easy_cleanup)> curl_;
};

// How one request, or a chain of redirected ones, ended: with an error for good, with a response, or
// with a problem that may go away.
struct HttpClient::Outcome {
  std::optional<Error> error = {};
  std::optional<HttpResponse> response = {};
  std::string problem = {};
  bool unreachable = false;
  std::string redirect = {};
  milliseconds retry_after{0};
};

// What libcurl's callbacks share while it runs.
struct HttpClient::Transfer {
  HttpClient& client;
  HttpBody& body;
  uint64_t offset;  // asked for
  std::map<std::string, std::string> headers = {};
  std::optional<Error> error = {};
  bool begun = false;
  uint64_t discarded = 0;
  std::array<char, CURL_ERROR_SIZE> message = {};

  CURL* curl() const { return client.handle_->get(); }
  int status() const {
    long code = 0;
    curl_easy_getinfo(curl(), CURLINFO_RESPONSE_CODE, &code);
    return static_cast<int>(code);
  }

  bool begin() {
    begun = true;
    uint64_t start = 0;
    if (status() == 206) {
      const auto given = range_start(headers["content-range"]);
      if (given != offset) {
        error = network_error(fmt::format("the server sends another range than bytes {}-", offset));
        return false;
      }
      start = offset;
    }
    if (auto begun_body = body.begin(start); !begun_body.ok()) error = begun_body.error();
    return !error.has_value();
  }

  bool take(std::span<const std::byte> bytes) {
    if (status() != 200 && status() != 206) {
      discarded += bytes.size();
      return discarded <= kMostDiscarded;
    }
    if (!begun && !begin()) return false;
    if (auto written = body.write(bytes); !written.ok()) error = written.error();
    return !error.has_value();
  }

  static size_t on_body(char* data, size_t size, size_t count, void* self) {
    const std::span<const char> bytes(data, size * count);
    return static_cast<Transfer*>(self)->take(std::as_bytes(bytes)) ? bytes.size() : 0;
  }
  static size_t on_header(char* data, size_t size, size_t count, void* self) {
    auto& headers = static_cast<Transfer*>(self)->headers;
    const std::string_view line(data, size * count);
    const size_t colon = line.find(':');
    if (line.starts_with("HTTP/")) {
      headers.clear();  // of an interim response, or of a proxy
    } else if (colon != std::string_view::npos && headers.size() < kMostHeaders &&
               line.size() <= kLongestHeader) {
      headers[ascii_lower(line.substr(0, colon))] = trim(line.substr(colon + 1));
    }
    return line.size();
  }
  static int on_progress(void* self, curl_off_t, curl_off_t, curl_off_t, curl_off_t) {
    return static_cast<Transfer*>(self)->client.cancelled() ? 1 : 0;
  }

  void set_callbacks() {
    curl_easy_setopt(curl(), CURLOPT_ERRORBUFFER, message.data());
    curl_easy_setopt(curl(), CURLOPT_WRITEFUNCTION, on_body);
    curl_easy_setopt(curl(), CURLOPT_WRITEDATA, this);
    curl_easy_setopt(curl(), CURLOPT_HEADERFUNCTION, on_header);
    curl_easy_setopt(curl(), CURLOPT_HEADERDATA, this);
    curl_easy_setopt(curl(), CURLOPT_XFERINFOFUNCTION, on_progress);
    curl_easy_setopt(curl(), CURLOPT_XFERINFODATA, this);
    curl_easy_setopt(curl(), CURLOPT_NOPROGRESS, 0L);
  }

  // After curl_easy_perform() has returned `code`.
  Outcome outcome(CURLcode code) {
    Outcome result;
    const bool whole = code == CURLE_OK || discarded > kMostDiscarded;
    const bool success = status() == 200 || status() == 206;
    if (whole && success && !begun && !error) begin();  // an empty body
    if (error) {
      result.error = error;
    } else if (code == CURLE_ABORTED_BY_CALLBACK) {
      result.error = runtime_error("interrupted");
    } else if (!whole) {
      result.problem = message[0] != '\0' ? message.data() : curl_easy_strerror(code);
      result.unreachable = is_unreachable(code);
      if (is_final(code)) result.error = network_error(result.problem);
    } else if (success && body.incomplete()) {
      result.problem = "the server closed the connection early";
    } else {
      result.response = HttpResponse{.status = status(), .headers = std::move(headers)};
      result.problem = fmt::format("HTTP status {}", status());
      char* location = nullptr;
      curl_easy_getinfo(curl(), CURLINFO_REDIRECT_URL, &location);
      if (location != nullptr) result.redirect = location;
      curl_off_t seconds = 0;
      curl_easy_getinfo(curl(), CURLINFO_RETRY_AFTER, &seconds);
      result.retry_after = std::chrono::seconds(std::clamp<curl_off_t>(seconds, 0, 1 << 20));
    }
    return result;
  }
};

std::string HttpResponse::header(const std::string& name) const {
  const auto it = headers.find(name);
  return it == headers.end() ? std::string() : it->second;
}

Result<void> TextBody::begin(uint64_t) {
  text_.clear();
  return {};
}

Result<void> TextBody::write(std::span<const std::byte> bytes) {
  if (bytes.size() > limit_ - text_.size())
    return network_error(fmt::format("an answer of more than {} bytes", limit_));
  text_.append(reinterpret_cast<const char*>(bytes.data()), bytes.size());
  return {};
}

HttpClient::HttpClient(HttpOptions options)
    : options_(std::move(options)), handle_(std::make_unique<Handle>()) {}
HttpClient::HttpClient(HttpClient&&) noexcept = default;
HttpClient& HttpClient::operator=(HttpClient&&) noexcept = default;
HttpClient::~HttpClient() = default;

Result<HttpClient> HttpClient::create(HttpOptions options) {
  initialise_curl();
  HttpClient client(std::move(options));
  if (client.handle_->get() == nullptr) return out_of_memory();
  return client;
}

HttpClient::Outcome HttpClient::transfer(const HttpRequest& request, const std::string& url,
                                         bool authorized, HttpBody& body) {
  CURL* const curl = handle_->get();
  curl_easy_reset(curl);
  Transfer state{.client = *this, .body = body, .offset = body.offset()};
  state.set_callbacks();
  curl_easy_setopt(curl, CURLOPT_URL, url.c_str());
  curl_easy_setopt(curl, CURLOPT_PROTOCOLS_STR, "http,https");
  curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L);  // more than one thread has a handle
  curl_easy_setopt(curl, CURLOPT_USERAGENT, options_.user_agent.c_str());
  curl_easy_setopt(curl, CURLOPT_BUFFERSIZE, kReceiveBuffer);
  curl_easy_setopt(curl, CURLOPT_CONNECTTIMEOUT_MS,
                   static_cast<long>(options_.connect_timeout.count()));
  curl_easy_setopt(curl, CURLOPT_LOW_SPEED_LIMIT, kStallBytesPerSecond);
  curl_easy_setopt(curl, CURLOPT_LOW_SPEED_TIME, static_cast<long>(options_.stall_timeout.count()));
  if (request.head) curl_easy_setopt(curl, CURLOPT_NOBODY, 1L);
  const std::string range = fmt::format("{}-", state.offset);
  if (state.offset > 0) curl_easy_setopt(curl, CURLOPT_RANGE, range.c_str());
  HeaderList headers;
  if (authorized && !request.token.empty()) {
    headers.reset(curl_slist_append(nullptr, ("Authorization: Bearer " + request.token).c_str()));
    curl_easy_setopt(curl, CURLOPT_HTTPHEADER, headers.get());
  }
  return state.outcome(curl_easy_perform(curl));
}

HttpClient::Outcome HttpClient::follow_redirects(const HttpRequest& request, HttpBody& body) {
  const std::string origin = url_origin(request.url);
  std::string url = request.url;
  HttpResponse merged;
  for (int hop = 0; hop <= kMostRedirects; ++hop) {
    Outcome outcome = transfer(request, url, url_origin(url) == origin, body);
    if (!outcome.response) return outcome;
    for (auto& [name, value] : outcome.response->headers) {
      if (name.starts_with("x-")) {
        merged.headers.emplace(name, value);
      } else {
        merged.headers[name] = value;
      }
    }
    merged.status = outcome.response->status;
    const std::string& next = outcome.redirect;
    // What the hub says of a file is complete; a signed address that it leads to may be for GET only.
    const bool known = request.head && !next.empty() && url_origin(next) != origin;
    if (known) merged.status = 200;
    if (next.empty() || known) {
      outcome.response = std::move(merged);
      return outcome;
    }
    const std::string scheme = url_scheme(next);
    if (scheme != "https" && (scheme != "http" || url_scheme(request.url) != "http"))
      return {.error = network_error("is redirected to an address that is not https")};
    url = next;
  }
  return {.error = network_error(fmt::format("more than {} redirects", kMostRedirects))};
}

Result<HttpResponse> HttpClient::send(const HttpRequest& request, HttpBody& body) {
  milliseconds next_pause = options_.first_pause;
  // Bytes that come a second time are no progress: a server may send the same ones for ever.
  uint64_t furthest = body.offset();
  for (int failures = 0;;) {
    const uint64_t before = body.offset();
    Outcome outcome = follow_redirects(request, body);
    const auto failed = [&](const std::string& more) {
      return network_error(fmt::format("{}: {}{}", request.url, outcome.problem, more));
    };
    if (outcome.error) {
      return outcome.error->kind == ErrorKind::network ? outcome.error->with_context(request.url)
                                                       : *outcome.error;
    }
    const int status = outcome.response ? outcome.response->status : 0;
    if (status == 416 && before > 0) {
      DUNLIN_RETURN_IF_ERROR(body.begin(0));  // what is here is no part of what the server has
    } else if (outcome.response && !is_temporary(status)) {
      return *std::move(outcome.response);
    }
    if (outcome.unreachable && !request.retry_connection) return failed("");
    if (body.offset() > furthest) {
      furthest = body.offset();
      failures = 0;
      next_pause = options_.first_pause;
    }
    if (++failures >= options_.attempts)
      return failed(fmt::format(", {} times in a row; try again later", failures));
    if (outcome.retry_after > options_.longest_pause) {
      return failed(fmt::format("; the server asks to try again in {} s",
                                outcome.retry_after / std::chrono::seconds(1)));
    }
    DUNLIN_RETURN_IF_ERROR(pause(std::max(next_pause, outcome.retry_after)));
    next_pause = std::min(2 * next_pause, options_.longest_pause);
  }
}

Result<void> HttpClient::pause(milliseconds duration) const {
  constexpr milliseconds kSlice{50};
  const auto end = std::chrono::steady_clock::now() + duration;
  for (auto now = end - duration; now < end; now = std::chrono::steady_clock::now()) {
    if (cancelled()) return runtime_error("interrupted");
    std::this_thread::sleep_for(std::min<std::chrono::nanoseconds>(kSlice, end - now));
  }
  return {};
}

}  // namespace dunlin
