// In place of the back end in a build without it (DUNLIN_WITH_PJRT=OFF).
#include "backend/pjrt/pjrt_backend.h"

namespace dunlin {

Result<std::unique_ptr<Backend>> make_pjrt_backend(const PjrtOptions&) {
  return Error{ErrorKind::device,
               "this build has no PJRT back end: configure with -DDUNLIN_WITH_PJRT=ON"};
}

std::vector<PjrtPlugin> list_pjrt_plugins(double) {
  return {};
}

}  // namespace dunlin
