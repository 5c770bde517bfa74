#include "hub/url.h"

#include <curl/curl.h>
#include <fmt/format.h>

#include <memory>

#include "base/ascii.h"
#include "base/text_checks.h"

namespace dunlin {
namespace {

std::string url_part(const std::string& url, CURLUPart part, unsigned flags) {
  const std::unique_ptr<CURLU, decltype(&curl_url_cleanup)> parsed(curl_url(), curl_url_cleanup);
  char* text = nullptr;
  if (parsed == nullptr || curl_url_set(parsed.get(), CURLUPART_URL, url.c_str(), 0) != CURLUE_OK ||
      curl_url_get(parsed.get(), part, &text, flags) != CURLUE_OK) {
    return {};
  }
  std::string result = text;
  curl_free(text);
  return result;
}

bool is_unreserved(char c) {
  return is_alphanumeric(c) || c == '-' || c == '_' || c == '.' || c == '~';
}

}  // namespace

std::string url_scheme(const std::string& url) {
  return url_part(url, CURLUPART_SCHEME, 0);
}

std::string url_origin(const std::string& url) {
  const std::string scheme = url_part(url, CURLUPART_SCHEME, 0);
  const std::string host = url_part(url, CURLUPART_HOST, 0);
  if (scheme.empty() || host.empty()) return {};
  return ascii_lower(
      fmt::format("{}://{}:{}", scheme, host, url_part(url, CURLUPART_PORT, CURLU_DEFAULT_PORT)));
}

std::string url_encoded(std::string_view text, bool keep_slashes) {
  std::string result;
  for (const char c : text) {
    if (is_unreserved(c) || (keep_slashes && c == '/')) {
      result += c;
    } else {
      result += fmt::format("%{:02X}", static_cast<unsigned char>(c));
    }
  }
  return result;
}

}  // namespace dunlin
