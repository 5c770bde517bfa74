#include "backend/pjrt/client/plugin.h"

#include <dlfcn.h>
#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <map>
#include <memory>
#include <mutex>

namespace dunlin::pjrt {
namespace {

Error device_error(std::string message) {
  return {ErrorKind::device, std::move(message)};
}

// What plug-ins read from the environment while they load; a value that is there stays.
void prepare_environment() {
  // Their log would mix with ours; errors come back as text anyway.
  setenv("TF_CPP_MIN_LOG_LEVEL", "3", 0);
  const bool has_tpu = access("/dev/accel0", F_OK) == 0 || access("/dev/vfio/0", F_OK) == 0;
  if (has_tpu) return;
  // Off Google Cloud libtpu asks a metadata server that is not there, for minutes.
  setenv("TPU_SKIP_MDS_QUERY", "1", 0);
  // It lets one process in at a time, which only a TPU needs: others compile ahead of time side by side.
  setenv("ALLOW_MULTIPLE_LIBTPU_LOAD", "1", 0);
}

Result<const PJRT_Api*> open_api(const std::string& path) {
  prepare_environment();
  void* library = dlopen(path.c_str(), RTLD_NOW | RTLD_LOCAL);
  if (library == nullptr) {
    const std::string reason = dlerror();  // often begins with the path
    return device_error(reason.starts_with(path) ? reason : path + ": " + reason);
  }
  const auto get_api = reinterpret_cast<const PJRT_Api* (*)()>(dlsym(library, "GetPjrtApi"));
  if (get_api == nullptr) {
    return device_error(path + ": not a PJRT plug-in (it has no function GetPjrtApi)");
  }
  const PJRT_Api* api = get_api();
  if (api == nullptr) return device_error(path + ": GetPjrtApi gave nothing");
  return api;
}

Result<void> check_version(const std::string& path, const PJRT_Api& api) {
  const int major = api.pjrt_api_version.major_version;
  const int minor = api.pjrt_api_version.minor_version;
  if (major == PJRT_API_MAJOR && minor >= PJRT_API_MINOR &&
      api.struct_size >= PJRT_Api_STRUCT_SIZE) {
    return {};
  }
  return device_error(fmt::format("{}: PJRT API {}.{}, but this build needs {}.{} or a later {}.x",
                                  path, major, minor, PJRT_API_MAJOR, PJRT_API_MINOR,
                                  PJRT_API_MAJOR));
}

// XLA appends its own source lines and stack traces.
constexpr size_t kLongestMessage = 2000;

}  // namespace

Result<const Plugin*> Plugin::load(const std::string& path) {
  static std::mutex mutex;
  static std::map<std::string, std::unique_ptr<Plugin>> loaded;
  const std::lock_guard lock(mutex);
  if (const auto found = loaded.find(path); found != loaded.end()) {
    return static_cast<const Plugin*>(found->second.get());
  }
  DUNLIN_ASSIGN_OR_RETURN(const PJRT_Api* api, open_api(path));
  DUNLIN_RETURN_IF_ERROR(check_version(path, *api));
  std::unique_ptr<Plugin> plugin(new Plugin(path, api));
  auto args = DUNLIN_PJRT_ARGS(PJRT_Plugin_Initialize_Args);
  DUNLIN_RETURN_IF_ERROR(plugin->check(api->PJRT_Plugin_Initialize(&args), "initialize"));
  return static_cast<const Plugin*>((loaded[path] = std::move(plugin)).get());
}

std::string Plugin::api_version() const {
  return fmt::format("{}.{}", api_->pjrt_api_version.major_version,
                     api_->pjrt_api_version.minor_version);
}

bool Plugin::has_attribute(std::string_view name) const {
  auto args = DUNLIN_PJRT_ARGS(PJRT_Plugin_Attributes_Args);
  if (!check(api_->PJRT_Plugin_Attributes(&args), "ask for attributes").ok()) return false;
  return std::any_of(args.attributes, args.attributes + args.num_attributes,
                     [name](const PJRT_NamedValue& value) {
                       return std::string_view(value.name, value.name_size) == name;
                     });
}

Result<void> Plugin::check(PJRT_Error* error, const std::string& doing) const {
  if (error == nullptr) return {};
  auto message = DUNLIN_PJRT_ARGS(PJRT_Error_Message_Args);
  message.error = error;
  api_->PJRT_Error_Message(&message);
  auto code = DUNLIN_PJRT_ARGS(PJRT_Error_GetCode_Args);
  code.error = error;
  if (PJRT_Error* failed = api_->PJRT_Error_GetCode(&code); failed != nullptr) {
    code.code = PJRT_Error_Code_UNKNOWN;
  }
  Error result{
      code.code == PJRT_Error_Code_RESOURCE_EXHAUSTED ? ErrorKind::does_not_fit : ErrorKind::device,
      fmt::format(
          "{}: {}: {}", path_, doing,
          std::string_view(message.message, std::min(message.message_size, kLongestMessage)))};
  auto destroy = DUNLIN_PJRT_ARGS(PJRT_Error_Destroy_Args);
  destroy.error = error;
  api_->PJRT_Error_Destroy(&destroy);
  return result;
}

Result<void> Plugin::await(PJRT_Event* event, const std::string& doing) const {
  if (event == nullptr) return {};
  auto args = DUNLIN_PJRT_ARGS(PJRT_Event_Await_Args);
  args.event = event;
  const auto result = check(api_->PJRT_Event_Await(&args), doing);
  destroy(event);
  return result;
}

Result<void> Plugin::hold_until(PJRT_Event* event, std::shared_ptr<const void> held,
                                const std::string& doing) const {
  struct Holder {
    const Plugin* plugin;
    std::shared_ptr<const void> held;
  };
  auto holder = std::make_unique<Holder>(Holder{.plugin = this, .held = std::move(held)});
  auto args = DUNLIN_PJRT_ARGS(PJRT_Event_OnReady_Args);
  args.event = event;
  args.user_arg = holder.get();
  args.callback = [](PJRT_Error* error, void* user) {
    const std::unique_ptr<Holder> ready(static_cast<Holder*>(user));
    (void)ready->plugin->check(error, "let an array of the host go");
  };
  const auto result = check(api_->PJRT_Event_OnReady(&args), doing);
  if (result.ok()) (void)holder.release();  // the callback's, which may have run
  destroy(event);
  return result;
}

void Plugin::destroy(PJRT_Event* event) const {
  auto args = DUNLIN_PJRT_ARGS(PJRT_Event_Destroy_Args);
  args.event = event;
  (void)check(api_->PJRT_Event_Destroy(&args), "destroy an event");
}

}  // namespace dunlin::pjrt
