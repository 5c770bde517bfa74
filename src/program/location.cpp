// Strips what precedes the source tree's own folder from a file name.
#include "program/location.h"

#include <algorithm>
#include <string_view>

namespace dunlin {

std::string location_text(const std::source_location& where) {
  const std::string_view file = where.file_name();
  size_t start = 0;
  for (const std::string_view folder : {"/src/", "/tests/", "/bench/", "/tools/"}) {
    const size_t found = file.rfind(folder);
    if (found != std::string_view::npos) start = std::max(start, found + 1);
  }
  return std::string(file.substr(start)) + ':' + std::to_string(where.line());
}

}  // namespace dunlin
