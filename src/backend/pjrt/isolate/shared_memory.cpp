#include "backend/pjrt/isolate/shared_memory.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include <cerrno>
#include <cstring>
#include <utility>

namespace dunlin::pjrt {
namespace {

constexpr size_t kSharedPageBytes = 4096;

Error no_shared_memory(size_t bytes, int code) {
  return {ErrorKind::does_not_fit,
          fmt::format("cannot share {} bytes with the process of the plug-in: {}", bytes,
                      std::strerror(code))};
}

Result<std::span<std::byte>> map_shared(int file, size_t bytes) {
  void* const address = ::mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
  if (address == MAP_FAILED) return no_shared_memory(bytes, errno);
  return std::span<std::byte>(static_cast<std::byte*>(address), bytes);
}

}  // namespace

Result<SharedMemory> SharedMemory::create(size_t bytes) {
  const size_t size = (bytes + kSharedPageBytes - 1) / kSharedPageBytes * kSharedPageBytes;
  FileDescriptor file(::memfd_create("dunlin", MFD_CLOEXEC | MFD_ALLOW_SEALING));
  if (file.get() < 0) return no_shared_memory(size, errno);
  int code = 0;
  do {
    code = ::posix_fallocate(file.get(), 0, static_cast<off_t>(size));
  } while (code == EINTR);
  if (code != 0) return no_shared_memory(size, code);
  if (::fcntl(file.get(), F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW) != 0)
    return no_shared_memory(size, errno);
  DUNLIN_ASSIGN_OR_RETURN(const std::span<std::byte> memory, map_shared(file.get(), size));
  return SharedMemory(std::move(file), memory);
}

Result<SharedMemory> SharedMemory::map(FileDescriptor file, size_t bytes) {
  struct stat found = {};
  if (::fstat(file.get(), &found) != 0 || !std::cmp_less_equal(bytes, found.st_size))
    return runtime_error(fmt::format("shared memory of {} bytes that is smaller", bytes));
  DUNLIN_ASSIGN_OR_RETURN(const std::span<std::byte> memory, map_shared(file.get(), bytes));
  return SharedMemory(std::move(file), memory);
}

SharedMemory::SharedMemory(FileDescriptor file, std::span<std::byte> bytes)
    : file_(std::move(file)), bytes_(bytes) {}

SharedMemory::SharedMemory(SharedMemory&& other) noexcept
    : file_(std::move(other.file_)), bytes_(std::exchange(other.bytes_, {})) {}

SharedMemory& SharedMemory::operator=(SharedMemory&& other) noexcept {
  std::swap(file_, other.file_);
  std::swap(bytes_, other.bytes_);
  return *this;
}

SharedMemory::~SharedMemory() {
  if (!bytes_.empty()) ::munmap(bytes_.data(), bytes_.size());
}

}  // namespace dunlin::pjrt
