// The child process that has the plug-in: the command of serve_plugin(). Over the socket that it is
// started with it gets channels, and each has a thread that answers its requests one after the other, so
// that calls which the parent makes at the same time run at the same time. That socket is closed when the
// parent ends, however that happens, and this process ends at once, whatever the plug-in is doing.
#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <memory>
#include <mutex>
#include <new>
#include <optional>
#include <span>
#include <string>
#include <system_error>
#include <thread>
#include <utility>
#include <vector>

#include "backend/pjrt/client/local_calls.h"
#include "backend/pjrt/isolate/channel.h"
#include "backend/pjrt/isolate/plugin_process.h"
#include "backend/pjrt/isolate/protocol.h"
#include "backend/pjrt/isolate/shared_memory.h"
#include "backend/pjrt/pjrt_backend.h"
#include "base/checked.h"

namespace dunlin::pjrt {
namespace {

Error malformed_request() {
  return runtime_error("a request that is not whole");
}

// The array in the window, which must hold all of it.
Result<std::span<std::byte>> array_in(const SharedMemory& window, const TensorType& type) {
  std::optional<int64_t> bytes = element_bytes(type.element);
  for (const int64_t dim : type.dims) {
    if (dim < 0) return malformed_request();
    if (bytes) bytes = checked_mul(*bytes, dim);
  }
  if (!bytes || std::cmp_greater(*bytes, window.size())) return malformed_request();
  return window.first(static_cast<size_t>(*bytes));
}

template <typename T>
Result<MessageWriter> answer_with(const Result<T>& result) {
  if (!result.ok()) return result.error();
  MessageWriter fields;
  put(fields, *result);
  return fields;
}

// Behind a request for a window comes its memory.
Result<MessageWriter> change_window(MessageReader& fields, const Channel& channel,
                                    SharedMemory& window) {
  const uint64_t bytes = fields.number();
  FileDescriptor memory;
  const bool came = channel.receive_descriptor(memory, {}) == Transfer::done;
  if (!came || !fields.is_complete()) return malformed_request();
  DUNLIN_ASSIGN_OR_RETURN(window, SharedMemory::map(std::move(memory), static_cast<size_t>(bytes)));
  return MessageWriter();
}

Result<MessageWriter> upload(PluginCalls& calls, MessageReader& fields,
                             const SharedMemory& window) {
  TensorType type;
  take(fields, type);
  const int64_t device = fields.integer();
  if (!fields.is_complete()) return malformed_request();
  DUNLIN_ASSIGN_OR_RETURN(const std::span<std::byte> array, array_in(window, type));
  return answer_with(calls.upload(type, array, device));
}

Result<MessageWriter> download(PluginCalls& calls, MessageReader& fields,
                               const SharedMemory& window) {
  BufferId buffer = BufferId::none;
  TensorType type;
  take(fields, buffer);
  take(fields, type);
  if (!fields.is_complete()) return malformed_request();
  DUNLIN_ASSIGN_OR_RETURN(const std::span<std::byte> array, array_in(window, type));
  DUNLIN_RETURN_IF_ERROR(calls.download(buffer, type, array));
  return MessageWriter();
}

Result<MessageWriter> execute(PluginCalls& calls, MessageReader& fields) {
  ProgramId program = ProgramId::none;
  std::vector<std::vector<BufferId>> arguments;
  take(fields, program);
  take(fields, arguments);
  const auto as_many = [&arguments](const std::vector<BufferId>& list) {
    return list.size() == arguments.front().size();
  };
  if (!fields.is_complete() || arguments.empty() || !std::ranges::all_of(arguments, as_many))
    return malformed_request();
  return answer_with(calls.execute(program, arguments));
}

Result<MessageWriter> compile(PluginCalls& calls, MessageReader& fields) {
  const std::string text = fields.text();
  const std::string options = fields.text();
  if (!fields.is_complete()) return malformed_request();
  return answer_with(calls.compile(text, options));
}

Result<MessageWriter> compile_for(PluginCalls& calls, MessageReader& fields) {
  TopologyId topology = TopologyId::none;
  take(fields, topology);
  const std::string text = fields.text();
  const std::string options = fields.text();
  if (!fields.is_complete()) return malformed_request();
  return answer_with(calls.compile_for(topology, text, options));
}

Result<MessageWriter> describe(PluginCalls& calls, MessageReader& fields) {
  const std::string name = fields.text();
  std::vector<std::pair<std::string, std::string>> options;
  take(fields, options);
  if (!fields.is_complete()) return malformed_request();
  return answer_with(calls.describe(name, options));
}

void free_all(PluginCalls& calls, const FreedIds& freed) {
  for (const BufferId buffer : freed.buffers) calls.free_buffer(buffer);
  for (const ProgramId program : freed.programs) calls.free_program(program);
  for (const TopologyId topology : freed.topologies) calls.free_topology(topology);
}

// What is asked of a compiled program alone.
Result<MessageWriter> answer_of_program(PluginCalls& plugin, Request request,
                                        MessageReader& fields) {
  const auto program = static_cast<ProgramId>(fields.number());
  if (!fields.is_complete()) return malformed_request();
  switch (request) {
    case Request::memory:
      return answer_with(plugin.memory(program));
    case Request::optimised:
      return answer_with(plugin.optimised(program));
    case Request::serialised:
      return answer_with(plugin.serialised(program));
    default:
      return malformed_request();
  }
}

Result<MessageWriter> answer_of_plugin(PluginCalls& plugin, Request request, MessageReader& fields,
                                       const SharedMemory& window) {
  switch (request) {
    case Request::open: {
      const int64_t virtual_devices = fields.integer();
      if (!fields.is_complete()) return malformed_request();
      return answer_with(plugin.open(virtual_devices));
    }
    case Request::upload:
      return upload(plugin, fields, window);
    case Request::download:
      return download(plugin, fields, window);
    case Request::address: {
      const auto buffer = static_cast<BufferId>(fields.number());
      if (!fields.is_complete()) return malformed_request();
      return answer_with(plugin.address(buffer));
    }
    case Request::compile:
      return compile(plugin, fields);
    case Request::load_program: {
      const std::string serialised = fields.text();
      if (!fields.is_complete()) return malformed_request();
      return answer_with(plugin.load_program(serialised));
    }
    case Request::execute:
      return execute(plugin, fields);
    case Request::describe:
      return describe(plugin, fields);
    case Request::compile_for:
      return compile_for(plugin, fields);
    default:
      return answer_of_program(plugin, request, fields);
  }
}

class PluginHost {
 public:
  // Until the other side closes the socket.
  void serve(FileDescriptor socket);

 private:
  // The fields of the answer.
  Result<MessageWriter> answer(Request request, MessageReader& fields, const Channel& channel,
                               SharedMemory& window);
  Result<MessageWriter> load(MessageReader& fields);
  std::shared_ptr<PluginCalls> calls();

  std::mutex mutex_;
  std::shared_ptr<PluginCalls> calls_;  // once the plug-in is loaded
};

std::shared_ptr<PluginCalls> PluginHost::calls() {
  const std::lock_guard lock(mutex_);
  return calls_;
}

Result<MessageWriter> PluginHost::load(MessageReader& fields) {
  const std::string path = fields.text();
  if (!fields.is_complete()) return malformed_request();
  DUNLIN_ASSIGN_OR_RETURN(auto loaded, LocalCalls::load(path));
  const std::lock_guard lock(mutex_);
  calls_ = std::move(loaded);
  return answer_with(Result<PluginFacts>(calls_->plugin()));
}

Result<MessageWriter> PluginHost::answer(Request request, MessageReader& fields,
                                         const Channel& channel, SharedMemory& window) {
  FreedIds freed;
  take(fields, freed);
  const std::shared_ptr<PluginCalls> plugin = calls();
  if (plugin != nullptr) free_all(*plugin, freed);
  if (request == Request::load) return load(fields);
  if (request == Request::window) return change_window(fields, channel, window);
  if (plugin == nullptr) return malformed_request();
  return answer_of_plugin(*plugin, request, fields, window);
}

void PluginHost::serve(FileDescriptor socket) {
  const Channel channel(std::move(socket));
  SharedMemory window;
  Message message;
  while (channel.receive(message, {}) == Transfer::done) {
    MessageReader fields(std::move(message.fields));
    Result<MessageWriter> result = out_of_memory();
    try {
      result = answer(static_cast<Request>(message.kind), fields, channel, window);
    } catch (const std::bad_alloc&) {
    }
    MessageWriter all;
    if (result.ok()) {
      all.number(1).fields(*result);
    } else {
      put(all.number(0), result.error());
    }
    if (channel.send(message.kind, all.bytes(), {}) != Transfer::done) return;
  }
}

}  // namespace
}  // namespace dunlin::pjrt

namespace dunlin {

int serve_plugin() {
  using namespace pjrt;
  // The processes that a plug-in starts, as XLA does ptxas, must not keep it open.
  ::fcntl(kPluginHostSocket, F_SETFD, FD_CLOEXEC);
  const Channel control{FileDescriptor(kPluginHostSocket)};
  if (control.send(kGreetingKind, kGreeting, {}) != Transfer::done) {
    std::fputs("error: this is a part of --isolate, not a command of its own\n", stderr);
    return static_cast<int>(ErrorKind::usage);
  }
  static PluginHost& host = *new PluginHost();  // its threads run until the process ends
  FileDescriptor socket;
  while (control.receive_descriptor(socket, {}) == Transfer::done) {
    try {
      std::thread([line = std::move(socket)]() mutable { host.serve(std::move(line)); }).detach();
    } catch (const std::system_error&) {
      ::_exit(static_cast<int>(ErrorKind::runtime));
    }
  }
  // Neither this program's destructors nor the plug-in's, which may be at work.
  ::_exit(0);
}

}  // namespace dunlin
