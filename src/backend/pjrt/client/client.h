// Client: the devices of a plug-in, arrays in their memory, and programs compiled for them.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "backend/pjrt/client/compile_options.h"
#include "backend/pjrt/client/compiled_program.h"
#include "backend/pjrt/client/plugin_calls.h"
#include "backend/pjrt/element.h"
#include "base/result.h"

namespace dunlin::pjrt {

// Of a GPU's memory. The rest is for CUDA's own context, and the libraries' workspaces.
inline constexpr float kCudaMemoryFraction = 0.9f;

// An array in the memory of one device; empty when default-made, moved from or donated.
class Buffer {
 public:
  Buffer() = default;
  Buffer(std::shared_ptr<PluginCalls> calls, BufferId id) : calls_(std::move(calls)), id_(id) {}
  Buffer(Buffer&& other) noexcept
      : calls_(std::move(other.calls_)), id_(std::exchange(other.id_, BufferId::none)) {}
  Buffer& operator=(Buffer&& other) noexcept;
  ~Buffer();

  bool empty() const { return id_ == BufferId::none; }
  BufferId id() const { return id_; }
  // Copies the whole array to the host, row-major; `into` has its bytes.
  Result<void> download(const TensorType& type, std::span<std::byte> into) const;
  // Where the array lies, to see that a donated one stayed; the plug-in decides what it means.
  Result<uintptr_t> address() const;

 private:
  std::shared_ptr<PluginCalls> calls_;  // whose it is
  BufferId id_ = BufferId::none;
};

// A program that was compiled and loaded. It keeps the plug-in's client open.
class LoadedProgram {
 public:
  explicit LoadedProgram(CompiledProgram compiled) : compiled_(std::move(compiled)) {}
  LoadedProgram(const LoadedProgram&) = delete;
  LoadedProgram& operator=(const LoadedProgram&) = delete;

  // arguments[device][i]; returns results[device][i]. Arguments that the program donates are gone
  // afterwards: the caller still holds their buffers and drops them. An error (kind device), too, when
  // not every device has `least` results: what a plug-in says is not what indices may rest on.
  Result<std::vector<std::vector<Buffer>>> execute(
      const std::vector<std::vector<BufferId>>& arguments, size_t least = 1) const;

  const CompiledProgram& compiled() const { return compiled_; }

 private:
  CompiledProgram compiled_;
};

class Client {
 public:
  // Opens the plug-in's client. `virtual_devices` > 0: so many devices of the CPU plug-in; 0: what
  // the plug-in finds. It stays open as long as something of it is held.
  static Result<std::shared_ptr<const Client>> create(std::shared_ptr<PluginCalls> calls,
                                                      int64_t virtual_devices);
  Client(const Client&) = delete;
  Client& operator=(const Client&) = delete;

  const PluginFacts& plugin() const { return calls_->plugin(); }
  const std::string& platform() const { return facts_.platform; }  // "cpu", "tpu", "cuda"
  // The plug-in's own words on what it was built from and with; empty where it has none.
  const std::string& platform_version() const { return facts_.platform_version; }
  // Devices of this process.
  int64_t devices() const { return static_cast<int64_t>(facts_.devices.size()); }
  std::vector<std::string> device_names() const;
  std::vector<int64_t> device_ids() const;
  const std::string& device_kind() const { return facts_.device_kind; }
  std::optional<Error> lost() const { return calls_->lost(); }  // PluginCalls::lost()

  // Copies a row-major array to a device; `data` may go when this returns.
  Result<Buffer> upload(const TensorType& type, std::span<const std::byte> data,
                        int64_t device) const;
  // An array that may lie where the host has it (PluginCalls::share()).
  Result<Buffer> share(const TensorType& type, const HeldBytes& data, int64_t device) const;

  // `program` is StableHLO text.
  Result<std::unique_ptr<LoadedProgram>> compile(const std::string& program,
                                                 const CompileSpec& spec) const;
  // Of CompiledProgram::serialised(), by the same version of the same plug-in.
  Result<std::unique_ptr<LoadedProgram>> load(const std::string& serialised) const;

 private:
  Client(std::shared_ptr<PluginCalls> calls, ClientFacts facts)
      : calls_(std::move(calls)), facts_(std::move(facts)) {}

  std::shared_ptr<PluginCalls> calls_;
  ClientFacts facts_;
};

}  // namespace dunlin::pjrt
