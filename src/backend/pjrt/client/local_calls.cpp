// LocalCalls: the client, its devices and arrays.
#include "backend/pjrt/client/local_calls.h"

#include <numeric>
#include <utility>

#include "backend/pjrt/client/client.h"
#include "base/check.h"

namespace dunlin::pjrt {
namespace {

PJRT_Buffer* buffer_of(BufferId id) {
  return reinterpret_cast<PJRT_Buffer*>(static_cast<uintptr_t>(id));
}

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

Result<std::shared_ptr<PluginCalls>> LocalCalls::load(const std::string& path) {
  DUNLIN_ASSIGN_OR_RETURN(const Plugin* plugin, Plugin::load(path));
  return std::shared_ptr<PluginCalls>(new LocalCalls(*plugin));
}

LocalCalls::LocalCalls(const Plugin& plugin) : plugin_(plugin) {
  facts_.path = plugin.path();
  facts_.api_version = plugin.api_version();
  facts_.is_cuda = plugin.is_cuda();
}

LocalCalls::~LocalCalls() {
  if (client_ == nullptr) return;
  auto args = DUNLIN_PJRT_ARGS(PJRT_Client_Destroy_Args);
  args.client = client_;
  (void)plugin_.check(plugin_.api().PJRT_Client_Destroy(&args), "close the device");
}

Result<ClientFacts> LocalCalls::open(int64_t virtual_devices) {
  DUNLIN_CHECK(client_ == nullptr, "a plug-in is opened once");
  auto args = DUNLIN_PJRT_ARGS(PJRT_Client_Create_Args);
  const std::vector<PJRT_NamedValue> options = client_options(plugin_, virtual_devices);
  args.create_options = options.data();
  args.num_options = options.size();
  DUNLIN_RETURN_IF_ERROR(plugin_.check(plugin_.api().PJRT_Client_Create(&args), "open the device"));
  client_ = args.client;
  ClientFacts facts;
  auto platform = DUNLIN_PJRT_ARGS(PJRT_Client_PlatformName_Args);
  platform.client = client_;
  DUNLIN_RETURN_IF_ERROR(
      plugin_.check(plugin_.api().PJRT_Client_PlatformName(&platform), "name the platform"));
  facts.platform.assign(platform.platform_name, platform.platform_name_size);
  auto version = DUNLIN_PJRT_ARGS(PJRT_Client_PlatformVersion_Args);
  version.client = client_;
  if (plugin_.check(plugin_.api().PJRT_Client_PlatformVersion(&version), "ask for a version").ok())
    facts.platform_version.assign(version.platform_version, version.platform_version_size);
  DUNLIN_ASSIGN_OR_RETURN(facts.devices, find_devices());
  facts.device_kind = device_kind();
  return facts;
}

Result<std::vector<DeviceFacts>> LocalCalls::find_devices() {
  auto args = DUNLIN_PJRT_ARGS(PJRT_Client_AddressableDevices_Args);
  args.client = client_;
  DUNLIN_RETURN_IF_ERROR(
      plugin_.check(plugin_.api().PJRT_Client_AddressableDevices(&args), "list the devices"));
  devices_.assign(args.addressable_devices,
                  args.addressable_devices + args.num_addressable_devices);
  if (devices_.empty())
    return Error{ErrorKind::device, plugin_.path() + ": the plug-in has no device"};
  std::vector<DeviceFacts> facts;
  for (size_t i = 0; i < devices_.size(); ++i) {
    DeviceFacts& device = facts.emplace_back();
    device.name = "?";
    device.id = static_cast<int64_t>(i);
    const auto description = describe_device(devices_[i]);
    if (!description.ok()) continue;
    auto name = DUNLIN_PJRT_ARGS(PJRT_DeviceDescription_ToString_Args);
    name.device_description = *description;
    if (plugin_.check(plugin_.api().PJRT_DeviceDescription_ToString(&name), "name a device").ok())
      device.name.assign(name.to_string, name.to_string_size);
    auto number = DUNLIN_PJRT_ARGS(PJRT_DeviceDescription_Id_Args);
    number.device_description = *description;
    if (plugin_.check(plugin_.api().PJRT_DeviceDescription_Id(&number), "number a device").ok())
      device.id = number.id;
  }
  return facts;
}

Result<PJRT_DeviceDescription*> LocalCalls::describe_device(PJRT_Device* device) const {
  auto args = DUNLIN_PJRT_ARGS(PJRT_Device_GetDescription_Args);
  args.device = device;
  DUNLIN_RETURN_IF_ERROR(
      plugin_.check(plugin_.api().PJRT_Device_GetDescription(&args), "describe a device"));
  return args.device_description;
}

std::string LocalCalls::device_kind() const {
  const auto description = describe_device(devices_.front());
  if (!description.ok()) return {};
  auto args = DUNLIN_PJRT_ARGS(PJRT_DeviceDescription_Kind_Args);
  args.device_description = *description;
  const auto told =
      plugin_.check(plugin_.api().PJRT_DeviceDescription_Kind(&args), "name a kind of device");
  return told.ok() ? std::string(args.device_kind, args.device_kind_size) : std::string();
}

Result<LocalCalls::Upload> LocalCalls::begin_upload(const TensorType& type,
                                                    std::span<const std::byte> data, int64_t device,
                                                    PJRT_HostBufferSemantics semantics,
                                                    const std::string& doing) const {
  DUNLIN_CHECK(device >= 0 && std::cmp_less(device, devices_.size()), "a device of the client");
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
  args.host_buffer_semantics = semantics;
  args.device = devices_[static_cast<size_t>(device)];
  DUNLIN_RETURN_IF_ERROR(
      plugin_.check(plugin_.api().PJRT_Client_BufferFromHostBuffer(&args), doing));
  return Upload{.id = static_cast<BufferId>(reinterpret_cast<uintptr_t>(args.buffer)),
                .done = args.done_with_host_buffer};
}

Result<BufferId> LocalCalls::upload(const TensorType& type, std::span<const std::byte> data,
                                    int64_t device) {
  const std::string doing = "copy " + type.text() + " to the device";
  DUNLIN_ASSIGN_OR_RETURN(
      const Upload begun,
      begin_upload(type, data, device, PJRT_HostBufferSemantics_kImmutableUntilTransferCompletes,
                   doing));
  if (const auto copied = plugin_.await(begun.done, doing); !copied.ok()) {
    free_buffer(begun.id);
    return copied.error();
  }
  return begun.id;
}

Result<BufferId> LocalCalls::share(const TensorType& type, const HeldBytes& data, int64_t device) {
  const std::string doing = "share " + type.text() + " with the device";
  DUNLIN_ASSIGN_OR_RETURN(
      const Upload begun,
      begin_upload(type, data.bytes, device, PJRT_HostBufferSemantics_kImmutableZeroCopy, doing));
  if (begun.done == nullptr) {  // nobody would say how long the bytes are needed
    free_buffer(begun.id);
    return upload(type, data.bytes, device);
  }
  if (const auto held = plugin_.hold_until(begun.done, data.owner, doing); !held.ok()) {
    free_buffer(begun.id);
    return held.error();
  }
  return begun.id;
}

Result<void> LocalCalls::download(BufferId buffer, const TensorType& type,
                                  std::span<std::byte> into) {
  // A device may store the array in another order of dimensions; the host's is row-major.
  std::vector<int64_t> minor_to_major(type.dims.size());
  std::iota(minor_to_major.rbegin(), minor_to_major.rend(), 0);
  auto layout = DUNLIN_PJRT_ARGS(PJRT_Buffer_MemoryLayout);
  layout.type = PJRT_Buffer_MemoryLayout_Type_Tiled;
  layout.tiled.struct_size = PJRT_Buffer_MemoryLayout_Tiled_STRUCT_SIZE;
  layout.tiled.minor_to_major = minor_to_major.data();
  layout.tiled.minor_to_major_size = minor_to_major.size();
  auto args = DUNLIN_PJRT_ARGS(PJRT_Buffer_ToHostBuffer_Args);
  args.src = buffer_of(buffer);
  args.host_layout = &layout;
  args.dst = into.data();
  args.dst_size = into.size();
  const std::string doing = "copy " + type.text() + " from the device";
  DUNLIN_RETURN_IF_ERROR(plugin_.check(plugin_.api().PJRT_Buffer_ToHostBuffer(&args), doing));
  return plugin_.await(args.event, doing);
}

Result<uintptr_t> LocalCalls::address(BufferId buffer) {
  auto args = DUNLIN_PJRT_ARGS(PJRT_Buffer_UnsafePointer_Args);
  args.buffer = buffer_of(buffer);
  DUNLIN_RETURN_IF_ERROR(
      plugin_.check(plugin_.api().PJRT_Buffer_UnsafePointer(&args), "locate an array"));
  return args.buffer_pointer;
}

void LocalCalls::free_buffer(BufferId buffer) noexcept {
  auto args = DUNLIN_PJRT_ARGS(PJRT_Buffer_Destroy_Args);
  args.buffer = buffer_of(buffer);
  (void)plugin_.check(plugin_.api().PJRT_Buffer_Destroy(&args), "free an array");
}

}  // namespace dunlin::pjrt
