// A library that says it is a PJRT plug-in, of a version that no build of this program takes.
#include <cstddef>

namespace {

// The beginning of PJRT_Api (pjrt_c_api.h).
struct Version {
  size_t struct_size;
  void* extension_start;
  int major_version;
  int minor_version;
};
struct Api {
  size_t struct_size;
  void* extension_start;
  Version version;
};

const Api kApi = {sizeof(Api), nullptr, {sizeof(Version), nullptr, 9, 1}};

}  // namespace

extern "C" __attribute__((visibility("default"))) const void* GetPjrtApi() {
  return &kApi;
}
