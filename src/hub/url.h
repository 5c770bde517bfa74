// Addresses, as libcurl parses them.
#pragma once

#include <string>
#include <string_view>

namespace dunlin {

// "https"; "" for what is no URL.
std::string url_scheme(const std::string& url);

// "https://host:port": who sees what is sent there. "" for what is no URL.
std::string url_origin(const std::string& url);

// Percent-encoding (RFC 3986, 2.1) of all but unreserved characters; `keep_slashes` for a path.
std::string url_encoded(std::string_view text, bool keep_slashes);

}  // namespace dunlin
