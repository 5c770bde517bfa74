// In place of the back end in a build without it (DUNLIN_WITH_PJRT=OFF).
#include "backend/pjrt/compile_ahead.h"
#include "backend/pjrt/pjrt_backend.h"

namespace dunlin {
namespace {

Error absent() {
  return {ErrorKind::device,
          "this build has no PJRT back end: configure with -DDUNLIN_WITH_PJRT=ON"};
}

}  // namespace

Result<std::unique_ptr<Backend>> make_pjrt_backend(const PjrtOptions&) {
  return absent();
}

Result<AheadResult> compile_ahead(const Program&, const WeightSource&, const AheadOptions&) {
  return absent();
}

int serve_plugin() {
  return static_cast<int>(ErrorKind::device);
}

std::vector<PjrtPlugin> list_pjrt_plugins(double) {
  return {};
}

}  // namespace dunlin
