#include "c_api/handle.h"

#include <algorithm>
#include <array>

namespace dunlin {
namespace {

thread_local std::array<char, 2048> last_error = {};

}  // namespace

dunlin_status failed(dunlin_status status, std::string_view text) noexcept {
  const size_t size = std::min(text.size(), last_error.size() - 1);
  std::copy_n(text.data(), size, last_error.data());
  last_error[size] = '\0';
  return status;
}

dunlin_status failed(const Error& error) noexcept {
  static_assert(static_cast<dunlin_status>(ErrorKind::runtime) == DUNLIN_ERROR_RUNTIME);
  static_assert(static_cast<dunlin_status>(ErrorKind::usage) == DUNLIN_ERROR_USAGE);
  static_assert(static_cast<dunlin_status>(ErrorKind::model) == DUNLIN_ERROR_MODEL);
  static_assert(static_cast<dunlin_status>(ErrorKind::does_not_fit) == DUNLIN_ERROR_DOES_NOT_FIT);
  static_assert(static_cast<dunlin_status>(ErrorKind::device) == DUNLIN_ERROR_DEVICE);
  static_assert(static_cast<dunlin_status>(ErrorKind::verification) == DUNLIN_ERROR_VERIFICATION);
  static_assert(static_cast<dunlin_status>(ErrorKind::network) == DUNLIN_ERROR_NETWORK);
  static_assert(static_cast<dunlin_status>(ErrorKind::deadline) == DUNLIN_ERROR_DEADLINE);
  return failed(static_cast<dunlin_status>(error.kind), error.message);
}

}  // namespace dunlin

const char* dunlin_version(void) {
  return DUNLIN_VERSION;
}

uint32_t dunlin_abi_version(void) {
  return DUNLIN_ABI_VERSION;
}

const char* dunlin_last_error(void) {
  return dunlin::last_error.data();
}
