// RemoteCalls: a plug-in in a child process. Whatever ends that process, or keeps it from answering in
// time, is an error of kind device that names the plug-in, what it was to do and how it ended; the child
// is then gone, and every further call gives the same error.
#pragma once

#include <memory>
#include <mutex>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "backend/pjrt/client/plugin_calls.h"
#include "backend/pjrt/isolate/channel.h"
#include "backend/pjrt/isolate/plugin_process.h"
#include "backend/pjrt/isolate/protocol.h"
#include "backend/pjrt/isolate/shared_memory.h"
#include "backend/pjrt/pjrt_backend.h"

namespace dunlin::pjrt {

class RemoteCalls final : public PluginCalls {
 public:
  // Starts the process and loads the plug-in there. Errors: those of LocalCalls::load(), and of a
  // process that cannot be started or ends.
  static Result<std::shared_ptr<PluginCalls>> load(const std::string& path,
                                                   const IsolateOptions& options);

  const PluginFacts& plugin() const override { return facts_; }
  std::optional<Error> lost() const override;
  Result<ClientFacts> open(int64_t virtual_devices) override;

  Result<BufferId> upload(const TensorType& type, std::span<const std::byte> data,
                          int64_t device) override;
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
  // What a call has to itself: threads that compile at the same time have one each.
  struct Line {
    Channel channel;
    SharedMemory window;
  };
  struct PutBack {
    RemoteCalls* calls = nullptr;
    void operator()(Line* line) const { calls->put_back(line); }
  };
  using LineLease = std::unique_ptr<Line, PutBack>;

  RemoteCalls(const std::string& path, const IsolateOptions& options,
              std::unique_ptr<PluginProcess> process);

  Result<LineLease> take_line(Request request);
  void put_back(Line* line) noexcept;
  // Room for an array in the window.
  Result<void> make_room(Line& line, size_t bytes);

  // The fields of the answer. `descriptor`: follows the request, unless it is -1.
  Result<MessageReader> ask(const Line& line, Request request, const MessageWriter& fields,
                            int descriptor = -1);
  Transfer exchange(const Line& line, Request request, const MessageWriter& fields, int descriptor,
                    Message& answer) const;
  // One field of an answer, which has no others.
  template <typename T>
  Result<T> read(MessageReader answer, Request request);
  // Asks for one, on a line that it takes.
  template <typename T>
  Result<T> ask_for(Request request, const MessageWriter& fields);

  // The first error stays.
  Error fail(Request request, Transfer transfer);
  // By whom `mutex_` is held.
  Error fail_locked(Request request, Transfer transfer);
  double seconds_for(Request request) const;

  PluginFacts facts_;
  double seconds_;            // of IsolateOptions
  mutable std::mutex mutex_;  // of what follows
  std::unique_ptr<PluginProcess> process_;
  std::vector<std::unique_ptr<Line>> idle_;
  FreedIds freed_;
  std::optional<Error> failure_;
};

}  // namespace dunlin::pjrt
