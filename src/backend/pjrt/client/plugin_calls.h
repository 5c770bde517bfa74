// PluginCalls: all that is ever asked of a plug-in, with numbers for what it holds. LocalCalls asks one
// that is loaded into this process, RemoteCalls (isolate/remote_calls.h) one in a child process.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "backend/pjrt/element.h"
#include "base/byte_source.h"
#include "base/result.h"

namespace dunlin::pjrt {

// Whose number it is, the object behind the calls knows.
enum class BufferId : uint64_t { none = 0 };
enum class ProgramId : uint64_t { none = 0 };
enum class TopologyId : uint64_t { none = 0 };

struct PluginFacts {
  std::string path = {};
  std::string api_version = {};  // "0.81"
  bool is_cuda = false;          // it has the attribute "cuda_version"
};

struct DeviceFacts {
  std::string name = {};
  int64_t id = 0;
};

// What a client of the plug-in says when it is opened.
struct ClientFacts {
  std::string platform = {};              // "cpu", "tpu", "cuda"
  std::string platform_version = {};      // in the plug-in's own words; empty where it has none
  std::string device_kind = {};           // of the first: "NVIDIA H100 80GB HBM3"; empty: not told
  std::vector<DeviceFacts> devices = {};  // of this process
};

// What a program needs on each device, in bytes.
struct MemoryStats {
  int64_t arguments = 0;
  int64_t outputs = 0;
  int64_t aliased = 0;  // outputs that lie where a donated argument did
  int64_t temporary = 0;
  int64_t code = 0;
};

// Devices that need not be there.
struct TopologyFacts {
  TopologyId id = TopologyId::none;
  int64_t devices = 0;
};

// Safe from any thread once a client is open. Errors name the plug-in and what was asked; of kind
// does_not_fit where the plug-in says that a resource is exhausted, else of kind device.
class PluginCalls {
 public:
  PluginCalls() = default;
  virtual ~PluginCalls() = default;
  PluginCalls(const PluginCalls&) = delete;
  PluginCalls& operator=(const PluginCalls&) = delete;

  virtual const PluginFacts& plugin() const = 0;
  // Why the plug-in is gone, which every further call says; nothing as long as it is there.
  virtual std::optional<Error> lost() const { return std::nullopt; }

  // Opens the one client that the rest is about, but for topologies. `virtual_devices` > 0: with so
  // many devices of the CPU plug-in; 0: with what the plug-in finds.
  virtual Result<ClientFacts> open(int64_t virtual_devices) = 0;

  // Copies a row-major array to a device; `data`, of the bytes of the type, may go when this returns.
  virtual Result<BufferId> upload(const TensorType& type, std::span<const std::byte> data,
                                  int64_t device) = 0;
  // The same without a copy, of bytes at a multiple of 64 and a device that computes with the host's
  // memory, as XLA for CPU does: they are let go when nothing uses the array any more. Else a copy.
  virtual Result<BufferId> share(const TensorType& type, const HeldBytes& data, int64_t device) {
    return upload(type, data.bytes, device);
  }
  // Copies a whole array to the host, row-major; `into` has its bytes.
  virtual Result<void> download(BufferId buffer, const TensorType& type,
                                std::span<std::byte> into) = 0;
  virtual Result<uintptr_t> address(BufferId buffer) = 0;
  virtual void free_buffer(BufferId buffer) noexcept = 0;

  // `text` is StableHLO, `options` a serialised CompileSpec.
  virtual Result<ProgramId> compile(const std::string& text, const std::string& options) = 0;
  // Of what serialised() gave, by the same version of the same plug-in.
  virtual Result<ProgramId> load_program(const std::string& serialised) = 0;
  // arguments[device][i]; gives results[device][i].
  virtual Result<std::vector<std::vector<BufferId>>> execute(
      ProgramId program, const std::vector<std::vector<BufferId>>& arguments) = 0;
  virtual Result<MemoryStats> memory(ProgramId program) = 0;
  virtual Result<std::string> optimised(ProgramId program) = 0;
  virtual Result<std::string> serialised(ProgramId program) = 0;
  virtual void free_program(ProgramId program) noexcept = 0;

  // `name` as the plug-in knows it ("v5e:2x2" for a TPU); `options` are the plug-in's, as text.
  virtual Result<TopologyFacts> describe(
      const std::string& name, const std::vector<std::pair<std::string, std::string>>& options) = 0;
  // A program for devices of a topology, which cannot be executed.
  virtual Result<ProgramId> compile_for(TopologyId topology, const std::string& text,
                                        const std::string& options) = 0;
  virtual void free_topology(TopologyId topology) noexcept = 0;
};

}  // namespace dunlin::pjrt
