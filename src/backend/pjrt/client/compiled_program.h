// CompiledProgram: what a compiler made of a program, whether or not there is a device to run it.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "backend/pjrt/client/compile_options.h"
#include "backend/pjrt/client/plugin.h"
#include "base/result.h"

namespace dunlin::pjrt {

// What a program needs on each device, in bytes.
struct MemoryStats {
  int64_t arguments = 0;
  int64_t outputs = 0;
  int64_t aliased = 0;  // outputs that lie where a donated argument did
  int64_t temporary = 0;
  int64_t code = 0;
};

class CompiledProgram {
 public:
  CompiledProgram() = default;
  CompiledProgram(const Plugin& plugin, PJRT_Executable* executable)
      : plugin_(&plugin), executable_(executable) {}
  CompiledProgram(CompiledProgram&& other) noexcept
      : plugin_(other.plugin_), executable_(std::exchange(other.executable_, nullptr)) {}
  CompiledProgram& operator=(CompiledProgram&& other) noexcept;
  ~CompiledProgram();

  Result<size_t> results() const;
  Result<MemoryStats> memory() const;
  // The optimised program as the plug-in gives it: HloModuleProtoWithConfig, serialised. Opcodes
  // and names can be found in the bytes.
  Result<std::string> optimised() const;
  Result<std::string> serialised() const;

 private:
  const Plugin* plugin_ = nullptr;
  PJRT_Executable* executable_ = nullptr;
};

// Devices that need not be there: programs are compiled for them ahead of time.
class Topology {
 public:
  // `name` as the plug-in knows it ("v5e:2x2" for a TPU); `options` are the plug-in's, as text.
  static Result<std::unique_ptr<Topology>> create(
      const Plugin& plugin, const std::string& name,
      const std::vector<std::pair<std::string, std::string>>& options);
  ~Topology();
  Topology(const Topology&) = delete;
  Topology& operator=(const Topology&) = delete;

  int64_t devices() const { return devices_; }
  // `program` is StableHLO text.
  Result<CompiledProgram> compile(const std::string& program, const CompileSpec& spec) const;

 private:
  explicit Topology(const Plugin& plugin) : plugin_(plugin) {}

  const Plugin& plugin_;
  PJRT_TopologyDescription* topology_ = nullptr;
  int64_t devices_ = 0;
};

}  // namespace dunlin::pjrt
