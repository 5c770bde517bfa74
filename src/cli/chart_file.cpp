#include "cli/chart_file.h"

#include <fmt/format.h>

#include <filesystem>
#include <span>
#include <system_error>

#include "base/byte_source.h"

namespace dunlin {

Result<void> write_chart(const std::string& folder, const std::string& name,
                         const std::string& svg) {
  std::error_code error;
  std::filesystem::create_directories(folder, error);
  if (error) return runtime_error(fmt::format("{}: {}", folder, error.message()));
  return write_file_atomically(folder + "/" + name, std::as_bytes(std::span(svg)));
}

}  // namespace dunlin
