// Requests on a network that breaks, with servers that are busy, slow or not to be trusted.
#include "hub/http.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>

#include "support/http_server.h"
#include "support/saved_environment.h"

namespace dunlin {
namespace {

using std::chrono::milliseconds;
using testing::HasSubstr;

const std::string kText = [] {
  std::string text;
  for (int i = 0; i < 20'000; ++i) text += static_cast<char>('a' + i * 7 % 26);
  return text;
}();

// Keeps what it has, as a file does.
class Bytes final : public HttpBody {
 public:
  uint64_t offset() const override { return text.size(); }
  Result<void> begin(uint64_t offset) override {
    begins.push_back(offset);
    text.resize(offset);
    return {};
  }
  Result<void> write(std::span<const std::byte> bytes) override {
    if (fail) return runtime_error("disk full");
    text.append(reinterpret_cast<const char*>(bytes.data()), bytes.size());
    return {};
  }
  bool incomplete() const override { return text.size() < wanted; }

  std::string text = {};
  std::vector<uint64_t> begins = {};
  size_t wanted = 0;
  bool fail = false;
};

class Http : public testing::Test {
 protected:
  static HttpOptions options() {
    return {.stall_timeout = std::chrono::seconds(1),
            .attempts = 3,
            .first_pause = milliseconds(1),
            .longest_pause = milliseconds(1500)};
  }
  static Result<HttpResponse> get(const std::string& url, HttpBody& body,
                                  const std::string& token = {}) {
    return send({.url = url, .token = token}, body);
  }
  static Result<HttpResponse> send(const HttpRequest& request, HttpBody& body,
                                   const HttpOptions& options = Http::options()) {
    auto client = HttpClient::create(options);
    return client->send(request, body);
  }

  // A proxy of the machine has no business between two ports of it.
  const SavedEnvironment environment_{"no_proxy", "127.0.0.1"};
};

TEST_F(Http, BodyHeadersAndStatusAreGiven) {
  HttpServer server([](const ServedRequest&) {
    return ServedReply{.headers = {{"X-Thing", " some value "}}, .body = kText};
  });
  TextBody body(1 << 20);
  const auto response = get(server.url() + "/path?q=1", body);
  ASSERT_TRUE(response.ok()) << response.error().message;
  EXPECT_TRUE(response->ok());
  EXPECT_EQ(response->header("x-thing"), "some value");
  EXPECT_TRUE(body.text() == kText);
  ASSERT_EQ(server.requests().size(), 1u);
  EXPECT_EQ(server.requests()[0].method, "GET");
  EXPECT_EQ(server.requests()[0].target, "/path?q=1");
  EXPECT_EQ(server.requests()[0].header("user-agent"), "dunlin");
}

TEST_F(Http, HeadHasNoBody) {
  HttpServer server([](const ServedRequest&) { return ServedReply{.body = kText}; });
  TextBody body(0);
  const auto response = send({.url = server.url(), .head = true}, body);
  ASSERT_TRUE(response.ok()) << response.error().message;
  EXPECT_EQ(response->header("content-length"), "20000");
}

TEST_F(Http, ABodyThatIsTooLongIsAnError) {
  HttpServer server([](const ServedRequest&) { return ServedReply{.body = kText}; });
  TextBody body(kText.size() - 1);
  const auto response = get(server.url(), body);
  ASSERT_FALSE(response.ok());
  EXPECT_EQ(response.error().kind, ErrorKind::network);
  EXPECT_THAT(response.error().message, HasSubstr("more than 19999 bytes"));
}

TEST_F(Http, WhatBreaksOffGoesOnWhereItBroke) {
  HttpServer server([](const ServedRequest& request) {
    ServedReply reply = in_range(request, {.body = kText});
    reply.cut = 3000;
    return reply;
  });
  Bytes body;
  const auto response = get(server.url(), body);
  ASSERT_TRUE(response.ok()) << response.error().message;
  EXPECT_TRUE(body.text == kText);
  // More often than a request that brings nothing is repeated.
  const auto requests = server.requests();
  ASSERT_EQ(requests.size(), 7u);
  EXPECT_EQ(requests[0].header("range"), "");
  EXPECT_EQ(requests[6].header("range"), "bytes=18000-");
}

TEST_F(Http, AnEndThatCameEarlyIsSeenWithoutALength) {
  HttpServer server([](const ServedRequest& request) {
    ServedReply reply = in_range(request, {.body = kText});
    reply.promise_length = false;
    reply.cut = 15'000;
    return reply;
  });
  Bytes body;
  body.wanted = kText.size();
  ASSERT_TRUE(get(server.url(), body).ok());
  EXPECT_TRUE(body.text == kText);
  EXPECT_EQ(server.requests().size(), 2u);
}

TEST_F(Http, AServerWithoutRangesSendsAllOfItAgain) {
  std::atomic<int> count = 0;
  HttpServer server([&](const ServedRequest&) {
    ServedReply reply{.body = kText};
    if (count++ == 0) reply.cut = 5000;
    return reply;
  });
  Bytes body;
  ASSERT_TRUE(get(server.url(), body).ok());
  EXPECT_TRUE(body.text == kText);
  EXPECT_EQ(body.begins, (std::vector<uint64_t>{0, 0}));
}

TEST_F(Http, ARangeThatIsNoneOfTheServersBeginsAnew) {
  HttpServer server(
      [](const ServedRequest& request) { return in_range(request, {.body = "short"}); });
  Bytes body;
  body.text = kText;
  ASSERT_TRUE(get(server.url(), body).ok());
  EXPECT_EQ(body.text, "short");
}

TEST_F(Http, AnotherRangeThanAskedForIsAnError) {
  HttpServer server([](const ServedRequest&) {
    return ServedReply{
        .status = 206, .headers = {{"Content-Range", "bytes 0-4/20000"}}, .body = "hello"};
  });
  Bytes body;
  body.text = "some";
  const auto response = get(server.url(), body);
  ASSERT_FALSE(response.ok());
  EXPECT_EQ(response.error().kind, ErrorKind::network);
  EXPECT_THAT(response.error().message, HasSubstr("another range than bytes 4-"));
}

TEST_F(Http, BusyServersAreAskedAgain) {
  for (const int status : {408, 429, 500, 502, 503, 504}) {
    std::atomic<int> count = 0;
    HttpServer server([&](const ServedRequest&) {
      return count++ < 2 ? ServedReply{.status = status, .body = "busy"}
                         : ServedReply{.body = "ok"};
    });
    TextBody body(100);
    const auto response = get(server.url(), body);
    ASSERT_TRUE(response.ok()) << status << ": " << response.error().message;
    EXPECT_EQ(body.text(), "ok");
    EXPECT_EQ(server.requests().size(), 3u);
  }
}

TEST_F(Http, AServerThatStaysBusyIsAnErrorOfTheNetwork) {
  HttpServer server([](const ServedRequest&) { return ServedReply{.status = 503}; });
  TextBody body(100);
  const auto response = get(server.url(), body);
  ASSERT_FALSE(response.ok());
  EXPECT_EQ(response.error().kind, ErrorKind::network);
  EXPECT_THAT(response.error().message,
              HasSubstr(server.url() + ": HTTP status 503, 3 times in a row"));
  EXPECT_EQ(server.requests().size(), 3u);
}

TEST_F(Http, RetryAfterIsWaitedForUpToALimit) {
  std::atomic<int> count = 0;
  HttpServer server([&](const ServedRequest&) {
    return count++ == 0 ? ServedReply{.status = 429, .headers = {{"Retry-After", "1"}}}
                        : ServedReply{.body = "ok"};
  });
  TextBody body(100);
  const auto start = std::chrono::steady_clock::now();
  ASSERT_TRUE(get(server.url(), body).ok());
  EXPECT_GE(std::chrono::steady_clock::now() - start, std::chrono::seconds(1));

  HttpServer patient([](const ServedRequest&) {
    return ServedReply{.status = 429, .headers = {{"Retry-After", "3600"}}};
  });
  const auto response = get(patient.url(), body);
  ASSERT_FALSE(response.ok());
  EXPECT_THAT(response.error().message,
              HasSubstr("HTTP status 429; the server asks to try again in"));
  EXPECT_EQ(patient.requests().size(), 1u);
}

TEST_F(Http, OtherStatusesAreTheCallers) {
  for (const int status : {400, 401, 403, 404}) {
    HttpServer server([&](const ServedRequest&) {
      return ServedReply{.status = status,
                         .headers = {{"X-Error-Code", "Code"}},
                         .body = std::string(200'000, 'x')};
    });
    Bytes body;
    const auto response = get(server.url(), body);
    ASSERT_TRUE(response.ok()) << response.error().message;
    EXPECT_EQ(response->status, status);
    EXPECT_EQ(response->header("x-error-code"), "Code");
    EXPECT_EQ(body.text, "");
    EXPECT_EQ(server.requests().size(), 1u);
  }
}

TEST_F(Http, AServerThatIsNotThereIsTriedAgainOnlyOnRequest) {
  std::string url;
  {
    HttpServer server([](const ServedRequest&) { return ServedReply{}; });
    url = server.url();
  }
  TextBody body(100);
  const auto once = send({.url = url, .retry_connection = false}, body);
  ASSERT_FALSE(once.ok());
  EXPECT_EQ(once.error().kind, ErrorKind::network);
  EXPECT_EQ(once.error().message.find("in a row"), std::string::npos);
  EXPECT_THAT(send({.url = url}, body).error().message, HasSubstr("3 times in a row"));
}

TEST_F(Http, AServerThatFallsSilentIsAskedAgain) {
  std::atomic<int> count = 0;
  HttpServer server([&](const ServedRequest& request) {
    ServedReply reply = in_range(request, {.body = kText});
    if (count++ == 0) {
      reply.piece = 4000;
      reply.pause = std::chrono::minutes(10);
    }
    return reply;
  });
  Bytes body;
  ASSERT_TRUE(get(server.url(), body).ok());
  EXPECT_TRUE(body.text == kText);
  EXPECT_EQ(server.requests()[1].header("range"), "bytes=4000-");
}

TEST_F(Http, TheTokenGoesToNoOtherServer) {
  HttpServer other([](const ServedRequest&) { return ServedReply{.body = "file"}; });
  HttpServer server([&](const ServedRequest& request) {
    if (request.target == "/a")
      return ServedReply{.status = 307, .headers = {{"Location", "/b"}, {"X-Linked-Etag", "e"}}};
    return ServedReply{.status = 302,
                       .headers = {{"Location", other.url() + "/c"}, {"X-Linked-Etag", "f"}}};
  });
  TextBody body(100);
  const auto response = get(server.url() + "/a", body, "hf_secret");
  ASSERT_TRUE(response.ok()) << response.error().message;
  EXPECT_EQ(body.text(), "file");
  EXPECT_EQ(response->header("x-linked-etag"), "e");  // of the first that had it
  ASSERT_EQ(server.requests().size(), 2u);
  for (const ServedRequest& request : server.requests())
    EXPECT_EQ(request.header("authorization"), "Bearer hf_secret");
  ASSERT_EQ(other.requests().size(), 1u);
  EXPECT_EQ(other.requests()[0].header("authorization"), "");
}

TEST_F(Http, HeadStopsWhereARedirectLeavesTheServer) {
  HttpServer other([](const ServedRequest&) { return ServedReply{.status = 403}; });
  HttpServer server([&](const ServedRequest&) {
    return ServedReply{.status = 302,
                       .headers = {{"Location", other.url()}, {"X-Linked-Size", "12"}}};
  });
  TextBody body(0);
  const auto response = send({.url = server.url(), .head = true}, body);
  ASSERT_TRUE(response.ok()) << response.error().message;
  EXPECT_TRUE(response->ok());
  EXPECT_EQ(response->header("x-linked-size"), "12");
  EXPECT_EQ(other.requests().size(), 0u);
}

TEST_F(Http, RedirectsLeadToHttpAndHttpsAlone) {
  for (const char* location : {"file:///etc/passwd", "ftp://127.0.0.1/x", "gopher://127.0.0.1/x"}) {
    HttpServer server([&](const ServedRequest&) {
      return ServedReply{.status = 302, .headers = {{"Location", location}}};
    });
    TextBody body(100);
    const auto response = get(server.url(), body);
    ASSERT_FALSE(response.ok()) << location;
    EXPECT_EQ(response.error().kind, ErrorKind::network);
    EXPECT_EQ(body.text(), "");
  }
}

TEST_F(Http, RedirectsInACircleEnd) {
  HttpServer server([](const ServedRequest&) {
    return ServedReply{.status = 302, .headers = {{"Location", "/again"}}};
  });
  TextBody body(100);
  EXPECT_THAT(get(server.url(), body).error().message, HasSubstr("more than 10 redirects"));
  EXPECT_EQ(server.requests().size(), 11u);
}

TEST_F(Http, AnErrorOfTheBodyEndsTheRequest) {
  HttpServer server([](const ServedRequest&) { return ServedReply{.body = kText}; });
  Bytes body;
  body.fail = true;
  const auto response = get(server.url(), body);
  ASSERT_FALSE(response.ok());
  EXPECT_EQ(response.error().kind, ErrorKind::runtime);
  EXPECT_EQ(response.error().message, "disk full");
  EXPECT_EQ(server.requests().size(), 1u);
}

TEST_F(Http, CancellingEndsATransferAndAPause) {
  std::atomic<bool> cancelled = false;
  HttpServer slow([&](const ServedRequest&) {
    cancelled = true;
    return ServedReply{.body = kText, .piece = 1, .pause = std::chrono::minutes(10)};
  });
  HttpServer busy([&](const ServedRequest&) {
    cancelled = true;
    return ServedReply{.status = 503};
  });
  HttpOptions options = Http::options();
  options.stall_timeout = std::chrono::hours(1);
  options.first_pause = options.longest_pause = std::chrono::hours(1);
  options.cancelled = [&cancelled] { return cancelled.load(); };
  for (const HttpServer* server : {&slow, &busy}) {
    cancelled = false;
    Bytes body;
    const auto response = send({.url = server->url()}, body, options);
    ASSERT_FALSE(response.ok());
    EXPECT_EQ(response.error().message, "interrupted");
  }
}

}  // namespace
}  // namespace dunlin
