// Plugin: a PJRT plug-in, loaded with dlopen. Nothing links against one; the C API's structs come
// from pjrt_c_api.h (openxla/xla, xla/pjrt/c), which a plug-in's wheel carries.
#pragma once

#include <pjrt_c_api.h>

#include <memory>
#include <string>
#include <string_view>

#include "base/result.h"

namespace dunlin::pjrt {

class Plugin {
 public:
  // The library stays loaded until the process ends: plug-ins start threads that outlive clients.
  // Errors (kind device): no such library, not a PJRT plug-in, a version that this build cannot
  // drive.
  static Result<const Plugin*> load(const std::string& path);

  const PJRT_Api& api() const { return *api_; }
  const std::string& path() const { return path_; }
  std::string api_version() const;  // "0.81"
  // Whether the plug-in has an attribute of this name ("cuda_version").
  bool has_attribute(std::string_view name) const;
  bool is_cuda() const { return has_attribute("cuda_version"); }

  // Takes ownership of `error`; null is success. The message starts with `doing` ("compile").
  Result<void> check(PJRT_Error* error, const std::string& doing) const;
  // Waits for the event and destroys it; null is success.
  Result<void> await(PJRT_Event* event, const std::string& doing) const;
  // Holds an object until the event is ready, and destroys the event; it is null for no plug-in. After an
  // error nothing is held.
  Result<void> hold_until(PJRT_Event* event, std::shared_ptr<const void> held,
                          const std::string& doing) const;

 private:
  Plugin(std::string path, const PJRT_Api* api) : path_(std::move(path)), api_(api) {}
  void destroy(PJRT_Event* event) const;

  std::string path_;
  const PJRT_Api* api_;
};

// The arguments of an API function: zero but for their size. PJRT only ever adds fields at the end,
// so a plug-in of a later version reads what it finds.
template <typename Args>
Args pjrt_args(size_t struct_size) {
  Args args;
  __builtin_memset(&args, 0, sizeof args);
  args.struct_size = struct_size;
  return args;
}
#define DUNLIN_PJRT_ARGS(type) pjrt_args<type>(type##_STRUCT_SIZE)

}  // namespace dunlin::pjrt
