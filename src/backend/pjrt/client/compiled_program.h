// CompiledProgram: what a compiler made of a program, whether or not there is a device to run it.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "backend/pjrt/client/compile_options.h"
#include "backend/pjrt/client/plugin_calls.h"
#include "base/result.h"

namespace dunlin::pjrt {

class CompiledProgram {
 public:
  CompiledProgram() = default;
  CompiledProgram(std::shared_ptr<PluginCalls> calls, ProgramId id)
      : calls_(std::move(calls)), id_(id) {}
  CompiledProgram(CompiledProgram&& other) noexcept
      : calls_(std::move(other.calls_)), id_(std::exchange(other.id_, ProgramId::none)) {}
  CompiledProgram& operator=(CompiledProgram&& other) noexcept;
  ~CompiledProgram();

  ProgramId id() const { return id_; }
  const std::shared_ptr<PluginCalls>& calls() const { return calls_; }
  Result<MemoryStats> memory() const { return calls_->memory(id_); }
  // The optimised program as the plug-in gives it: HloModuleProtoWithConfig, serialised. Opcodes
  // and names can be found in the bytes.
  Result<std::string> optimised() const { return calls_->optimised(id_); }
  Result<std::string> serialised() const { return calls_->serialised(id_); }

 private:
  std::shared_ptr<PluginCalls> calls_;
  ProgramId id_ = ProgramId::none;
};

// Devices that need not be there: programs are compiled for them ahead of time.
class Topology {
 public:
  // `name` as the plug-in knows it ("v5e:2x2" for a TPU); `options` are the plug-in's, as text.
  static Result<std::unique_ptr<Topology>> create(
      std::shared_ptr<PluginCalls> calls, const std::string& name,
      const std::vector<std::pair<std::string, std::string>>& options);
  ~Topology();
  Topology(const Topology&) = delete;
  Topology& operator=(const Topology&) = delete;

  int64_t devices() const { return facts_.devices; }
  // `program` is StableHLO text. Safe from any thread.
  Result<CompiledProgram> compile(const std::string& program, const CompileSpec& spec) const;

 private:
  Topology(std::shared_ptr<PluginCalls> calls, const TopologyFacts& facts)
      : calls_(std::move(calls)), facts_(facts) {}

  std::shared_ptr<PluginCalls> calls_;
  TopologyFacts facts_;
};

}  // namespace dunlin::pjrt
