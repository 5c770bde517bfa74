// LocalCalls: a plug-in that is loaded into this process.
#pragma once

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "backend/pjrt/client/plugin.h"
#include "backend/pjrt/client/plugin_calls.h"

namespace dunlin::pjrt {

class LocalCalls final : public PluginCalls {
 public:
  // Errors: those of Plugin::load().
  static Result<std::shared_ptr<PluginCalls>> load(const std::string& path);
  ~LocalCalls() override;

  const PluginFacts& plugin() const override { return facts_; }
  Result<ClientFacts> open(int64_t virtual_devices) override;

  Result<BufferId> upload(const TensorType& type, std::span<const std::byte> data,
                          int64_t device) override;
  Result<BufferId> share(const TensorType& type, const HeldBytes& data, int64_t device) override;
  Result<void> download(BufferId buffer, const TensorType& type,
                        std::span<std::byte> into) override;
  Result<uintptr_t> address(BufferId buffer) override;
  void free_buffer(BufferId buffer) noexcept override;

  Result<ProgramId> compile(const std::string& text, const std::string& options) override;
  Result<ProgramId> load_program(const std::string& serialised) override;
  Result<std::vector<std::vector<BufferId>>> execute(
      ProgramId program, const std::vector<std::vector<BufferId>>& arguments) override;
  Result<MemoryStats> memory(ProgramId program) override;
  Result<std::string> optimised(ProgramId program) override;
  Result<std::string> serialised(ProgramId program) override;
  void free_program(ProgramId program) noexcept override;

  Result<TopologyFacts> describe(
      const std::string& name,
      const std::vector<std::pair<std::string, std::string>>& options) override;
  Result<ProgramId> compile_for(TopologyId topology, const std::string& text,
                                const std::string& options) override;
  void free_topology(TopologyId topology) noexcept override;

 private:
  explicit LocalCalls(const Plugin& plugin);
  Result<std::vector<DeviceFacts>> find_devices();
  Result<PJRT_DeviceDescription*> describe_device(PJRT_Device* device) const;
  std::string device_kind() const;
  // A transfer to a device that has begun: `done` when the host's bytes are needed no more.
  struct Upload {
    BufferId id;
    PJRT_Event* done;
  };
  Result<Upload> begin_upload(const TensorType& type, std::span<const std::byte> data,
                              int64_t device, PJRT_HostBufferSemantics semantics,
                              const std::string& doing) const;
  Result<ProgramId> adopt(PJRT_LoadedExecutable* loaded) const;

  const Plugin& plugin_;
  PluginFacts facts_;
  PJRT_Client* client_ = nullptr;
  std::vector<PJRT_Device*> devices_;
};

}  // namespace dunlin::pjrt
