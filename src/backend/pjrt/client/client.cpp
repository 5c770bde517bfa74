#include "backend/pjrt/client/client.h"

#include <fmt/format.h>

#include "backend/pjrt/client/compile_call.h"
#include "backend/pjrt/client/large_stack.h"

namespace dunlin::pjrt {
namespace {

PJRT_Buffer_Type buffer_type(Element element) {
  switch (element) {
    case Element::f32:
      return PJRT_Buffer_Type_F32;
    case Element::f16:
      return PJRT_Buffer_Type_F16;
    case Element::bf16:
      return PJRT_Buffer_Type_BF16;
    case Element::i32:
      return PJRT_Buffer_Type_S32;
    case Element::i8:
      return PJRT_Buffer_Type_S8;
    case Element::u8:
      return PJRT_Buffer_Type_U8;
    case Element::i4:
      return PJRT_Buffer_Type_S4;
    case Element::u4:
      return PJRT_Buffer_Type_U4;
    case Element::f4:
      return PJRT_Buffer_Type_F4E2M1FN;
    case Element::i1:
      break;
  }
  return PJRT_Buffer_Type_PRED;
}

// Bytes of the host from one element of a dimension to the next.
Shape row_major_strides(const TensorType& type) {
  Shape strides(type.dims.size());
  int64_t stride = element_bytes(type.element);
  for (size_t i = strides.size(); i-- > 0;) {
    strides[i] = stride;
    stride *= type.dims[i];
  }
  return strides;
}

PJRT_NamedValue named_option(const char* name, PJRT_NamedValue_Type type) {
  auto option = DUNLIN_PJRT_ARGS(PJRT_NamedValue);
  option.name = name;
  option.name_size = __builtin_strlen(name);
  option.type = type;
  option.value_size = 1;
  return option;
}

std::vector<PJRT_NamedValue> client_options(const Plugin& plugin, int64_t virtual_devices) {
  std::vector<PJRT_NamedValue> options;
  if (virtual_devices > 0) {
    options.push_back(named_option("cpu_device_count", PJRT_NamedValue_kInt64));
    options.back().int64_value = virtual_devices;
  }
  // XLA would take three quarters of a GPU's memory at once, whatever the model needs, and never
  // more.
  if (plugin.is_cuda()) {
    options.push_back(named_option("preallocate", PJRT_NamedValue_kBool));
    options.back().bool_value = false;
    options.push_back(named_option("memory_fraction", PJRT_NamedValue_kFloat));
    options.back().float_value = kCudaMemoryFraction;
  }
  return options;
}

}  // namespace

Result<std::shared_ptr<const Client>> Client::create(const Plugin& plugin,
                                                     int64_t virtual_devices) {
  std::shared_ptr<Client> client(new Client(plugin));
  auto args = DUNLIN_PJRT_ARGS(PJRT_Client_Create_Args);
  const std::vector<PJRT_NamedValue> options = client_options(plugin, virtual_devices);
  args.create_options = options.data();
  args.num_options = options.size();
  DUNLIN_RETURN_IF_ERROR(plugin.check(plugin.api().PJRT_Client_Create(&args), "open the device"));
  client->client_ = args.client;
  auto platform = DUNLIN_PJRT_ARGS(PJRT_Client_PlatformName_Args);
  platform.client = args.client;
  DUNLIN_RETURN_IF_ERROR(
      plugin.check(plugin.api().PJRT_Client_PlatformName(&platform), "name the platform"));
  client->platform_.assign(platform.platform_name, platform.platform_name_size);
  auto version = DUNLIN_PJRT_ARGS(PJRT_Client_PlatformVersion_Args);
  version.client = args.client;
  if (plugin.check(plugin.api().PJRT_Client_PlatformVersion(&version), "ask for a version").ok())
    client->platform_version_.assign(version.platform_version, version.platform_version_size);
  DUNLIN_RETURN_IF_ERROR(client->find_devices());
  return std::shared_ptr<const Client>(std::move(client));
}

Client::~Client() {
  if (client_ == nullptr) return;
  auto args = DUNLIN_PJRT_ARGS(PJRT_Client_Destroy_Args);
  args.client = client_;
  (void)plugin_.check(plugin_.api().PJRT_Client_Destroy(&args), "close the device");
}

Result<void> Client::find_devices() {
  auto args = DUNLIN_PJRT_ARGS(PJRT_Client_AddressableDevices_Args);
  args.client = client_;
  DUNLIN_RETURN_IF_ERROR(
      plugin_.check(plugin_.api().PJRT_Client_AddressableDevices(&args), "list the devices"));
  devices_.assign(args.addressable_devices,
                  args.addressable_devices + args.num_addressable_devices);
  if (!devices_.empty()) return {};
  return Error{ErrorKind::device, plugin_.path() + ": the plug-in has no device"};
}

Result<PJRT_DeviceDescription*> Client::describe(int64_t device) const {
  auto args = DUNLIN_PJRT_ARGS(PJRT_Device_GetDescription_Args);
  args.device = devices_[static_cast<size_t>(device)];
  DUNLIN_RETURN_IF_ERROR(
      plugin_.check(plugin_.api().PJRT_Device_GetDescription(&args), "describe a device"));
  return args.device_description;
}

std::vector<std::string> Client::device_names() const {
  std::vector<std::string> names;
  for (int64_t device = 0; device < devices(); ++device) {
    auto args = DUNLIN_PJRT_ARGS(PJRT_DeviceDescription_ToString_Args);
    const auto description = describe(device);
    if (description.ok()) args.device_description = *description;
    const bool named =
        description.ok() &&
        plugin_.check(plugin_.api().PJRT_DeviceDescription_ToString(&args), "name a device").ok();
    names.push_back(named ? std::string(args.to_string, args.to_string_size) : "?");
  }
  return names;
}

std::vector<int64_t> Client::device_ids() const {
  std::vector<int64_t> ids;
  for (int64_t device = 0; device < devices(); ++device) {
    auto args = DUNLIN_PJRT_ARGS(PJRT_DeviceDescription_Id_Args);
    const auto description = describe(device);
    if (description.ok()) args.device_description = *description;
    const bool known =
        description.ok() &&
        plugin_.check(plugin_.api().PJRT_DeviceDescription_Id(&args), "number a device").ok();
    ids.push_back(known ? args.id : device);
  }
  return ids;
}

std::string Client::device_kind() const {
  auto args = DUNLIN_PJRT_ARGS(PJRT_DeviceDescription_Kind_Args);
  const auto description = describe(0);
  if (!description.ok()) return {};
  args.device_description = *description;
  const auto told =
      plugin_.check(plugin_.api().PJRT_DeviceDescription_Kind(&args), "name a kind of device");
  return told.ok() ? std::string(args.device_kind, args.device_kind_size) : std::string();
}

Result<Buffer> Client::upload(const TensorType& type, std::span<const std::byte> data,
                              int64_t device) const {
  DUNLIN_CHECK(std::cmp_equal(data.size(), type.bytes()), "bytes of " + type.text());
  auto args = DUNLIN_PJRT_ARGS(PJRT_Client_BufferFromHostBuffer_Args);
  args.client = client_;
  args.data = data.data();
  args.type = buffer_type(type.element);
  args.dims = type.dims.data();
  args.num_dims = type.dims.size();
  // XLA for CPU took an array of four bits only with its strides (openxla/xla, issue 16795).
  const Shape strides = element_bits(type.element) < 8 ? row_major_strides(type) : Shape();
  args.byte_strides = strides.empty() ? nullptr : strides.data();
  args.num_byte_strides = strides.size();
  args.host_buffer_semantics = PJRT_HostBufferSemantics_kImmutableUntilTransferCompletes;
  args.device = devices_[static_cast<size_t>(device)];
  const std::string doing = "copy " + type.text() + " to the device";
  DUNLIN_RETURN_IF_ERROR(
      plugin_.check(plugin_.api().PJRT_Client_BufferFromHostBuffer(&args), doing));
  Buffer buffer(plugin_, args.buffer);
  DUNLIN_RETURN_IF_ERROR(plugin_.await(args.done_with_host_buffer, doing));
  return buffer;
}

Result<std::unique_ptr<LoadedProgram>> Client::compile(const std::string& program,
                                                       const CompileSpec& spec) const {
  auto args = DUNLIN_PJRT_ARGS(PJRT_Client_Compile_Args);
  args.client = client_;
  DUNLIN_RETURN_IF_ERROR(
      call_compiler(plugin_, plugin_.api().PJRT_Client_Compile, args, program, spec, "compile"));
  return adopt(args.executable);
}

Result<std::unique_ptr<LoadedProgram>> Client::load(const std::string& serialised) const {
  auto args = DUNLIN_PJRT_ARGS(PJRT_Executable_DeserializeAndLoad_Args);
  args.client = client_;
  args.serialized_executable = serialised.data();
  args.serialized_executable_size = serialised.size();
  PJRT_Error* error = nullptr;
  run_with_large_stack([&] { error = plugin_.api().PJRT_Executable_DeserializeAndLoad(&args); });
  DUNLIN_RETURN_IF_ERROR(plugin_.check(error, "load a compiled program"));
  return adopt(args.loaded_executable);
}

Result<std::unique_ptr<LoadedProgram>> Client::adopt(PJRT_LoadedExecutable* executable) const {
  std::unique_ptr<LoadedProgram> loaded(new LoadedProgram(shared_from_this(), executable));
  auto inner = DUNLIN_PJRT_ARGS(PJRT_LoadedExecutable_GetExecutable_Args);
  inner.loaded_executable = executable;
  DUNLIN_RETURN_IF_ERROR(plugin_.check(plugin_.api().PJRT_LoadedExecutable_GetExecutable(&inner),
                                       "look into a program"));
  loaded->compiled_ = CompiledProgram(plugin_, inner.executable);
  DUNLIN_ASSIGN_OR_RETURN(loaded->results_, loaded->compiled_.results());
  return loaded;
}

}  // namespace dunlin::pjrt
