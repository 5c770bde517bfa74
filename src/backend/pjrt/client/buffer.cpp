// Buffer: an array in a device's memory.
#include <numeric>

#include "backend/pjrt/client/client.h"

namespace dunlin::pjrt {

Buffer& Buffer::operator=(Buffer&& other) noexcept {
  std::swap(plugin_, other.plugin_);
  std::swap(buffer_, other.buffer_);
  return *this;
}

Buffer::~Buffer() {
  if (buffer_ == nullptr) return;
  auto args = DUNLIN_PJRT_ARGS(PJRT_Buffer_Destroy_Args);
  args.buffer = buffer_;
  (void)plugin_->check(plugin_->api().PJRT_Buffer_Destroy(&args), "free an array");
}

Result<void> Buffer::download(const TensorType& type, std::span<std::byte> into) const {
  // A device may store the array in another order of dimensions; the host's is row-major.
  std::vector<int64_t> minor_to_major(type.dims.size());
  std::iota(minor_to_major.rbegin(), minor_to_major.rend(), 0);
  auto layout = DUNLIN_PJRT_ARGS(PJRT_Buffer_MemoryLayout);
  layout.type = PJRT_Buffer_MemoryLayout_Type_Tiled;
  layout.tiled.struct_size = PJRT_Buffer_MemoryLayout_Tiled_STRUCT_SIZE;
  layout.tiled.minor_to_major = minor_to_major.data();
  layout.tiled.minor_to_major_size = minor_to_major.size();
  auto args = DUNLIN_PJRT_ARGS(PJRT_Buffer_ToHostBuffer_Args);
  args.src = buffer_;
  args.host_layout = &layout;
  args.dst = into.data();
  args.dst_size = into.size();
  const std::string doing = "copy " + type.text() + " from the device";
  DUNLIN_RETURN_IF_ERROR(plugin_->check(plugin_->api().PJRT_Buffer_ToHostBuffer(&args), doing));
  return plugin_->await(args.event, doing);
}

Result<uintptr_t> Buffer::address() const {
  auto args = DUNLIN_PJRT_ARGS(PJRT_Buffer_UnsafePointer_Args);
  args.buffer = buffer_;
  DUNLIN_RETURN_IF_ERROR(
      plugin_->check(plugin_->api().PJRT_Buffer_UnsafePointer(&args), "locate an array"));
  return args.buffer_pointer;
}

}  // namespace dunlin::pjrt
