// Client: the devices of a plug-in, arrays in their memory, and programs compiled for them.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "backend/pjrt/client/compile_options.h"
#include "backend/pjrt/client/compiled_program.h"
#include "backend/pjrt/client/plugin.h"
#include "backend/pjrt/element.h"
#include "base/result.h"

namespace dunlin::pjrt {

class Client;

// Of a GPU's memory. The rest is for CUDA's own context, and the libraries' workspaces.
inline constexpr float kCudaMemoryFraction = 0.9f;

// An array in the memory of one device; empty when default-made, moved from or donated.
class Buffer {
 public:
  Buffer() = default;
  Buffer(const Plugin& plugin, PJRT_Buffer* buffer) : plugin_(&plugin), buffer_(buffer) {}
  Buffer(Buffer&& other) noexcept : plugin_(other.plugin_), buffer_(other.buffer_) {
    other.buffer_ = nullptr;
  }
  Buffer& operator=(Buffer&& other) noexcept;
  ~Buffer();

  bool empty() const { return buffer_ == nullptr; }
  PJRT_Buffer* get() const { return buffer_; }
  // Copies the whole array to the host, row-major; `into` has its bytes.
  Result<void> download(const TensorType& type, std::span<std::byte> into) const;
  // Where the array lies, to see that a donated one stayed; the plug-in decides what it means.
  Result<uintptr_t> address() const;

 private:
  const Plugin* plugin_ = nullptr;
  PJRT_Buffer* buffer_ = nullptr;
};

// A program that was compiled and loaded. It keeps its client.
class LoadedProgram {
 public:
  ~LoadedProgram();
  LoadedProgram(const LoadedProgram&) = delete;
  LoadedProgram& operator=(const LoadedProgram&) = delete;

  // arguments[device][i]; returns results[device][i]. Arguments that the program donates are gone
  // afterwards: the caller still holds their handles and drops them.
  Result<std::vector<std::vector<Buffer>>> execute(
      const std::vector<std::vector<PJRT_Buffer*>>& arguments) const;

  const CompiledProgram& compiled() const { return compiled_; }

 private:
  friend class Client;
  LoadedProgram(std::shared_ptr<const Client> client, PJRT_LoadedExecutable* loaded)
      : client_(std::move(client)), loaded_(loaded) {}

  std::shared_ptr<const Client> client_;
  PJRT_LoadedExecutable* loaded_;
  CompiledProgram compiled_;
  size_t results_ = 0;
};

class Client : public std::enable_shared_from_this<Client> {
 public:
  // `virtual_devices` > 0: so many devices of the CPU plug-in; 0: what the plug-in finds.
  static Result<std::shared_ptr<const Client>> create(const Plugin& plugin,
                                                      int64_t virtual_devices);
  ~Client();
  Client(const Client&) = delete;
  Client& operator=(const Client&) = delete;

  const Plugin& plugin() const { return plugin_; }
  const std::string& platform() const { return platform_; }  // "cpu", "tpu", "cuda"
  // The plug-in's own words on what it was built from and with; empty where it has none.
  const std::string& platform_version() const { return platform_version_; }
  // Devices of this process.
  int64_t devices() const { return static_cast<int64_t>(devices_.size()); }
  std::vector<std::string> device_names() const;
  std::vector<int64_t> device_ids() const;
  std::string device_kind() const;  // of the first: "NVIDIA H100 80GB HBM3"; empty: not told

  // Copies a row-major array to a device; `data` may go when this returns.
  Result<Buffer> upload(const TensorType& type, std::span<const std::byte> data,
                        int64_t device) const;

  // `program` is StableHLO text. XLA recurses deeply: this runs on a thread with a large stack.
  Result<std::unique_ptr<LoadedProgram>> compile(const std::string& program,
                                                 const CompileSpec& spec) const;
  // Of CompiledProgram::serialised(), by the same version of the same plug-in.
  Result<std::unique_ptr<LoadedProgram>> load(const std::string& serialised) const;

 private:
  explicit Client(const Plugin& plugin) : plugin_(plugin) {}
  Result<void> find_devices();
  Result<PJRT_DeviceDescription*> describe(int64_t device) const;
  Result<std::unique_ptr<LoadedProgram>> adopt(PJRT_LoadedExecutable* executable) const;

  const Plugin& plugin_;
  PJRT_Client* client_ = nullptr;
  std::string platform_;
  std::string platform_version_;
  std::vector<PJRT_Device*> devices_;

  friend class LoadedProgram;
};

}  // namespace dunlin::pjrt
