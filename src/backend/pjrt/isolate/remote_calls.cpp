#include "backend/pjrt/isolate/remote_calls.h"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <cstring>
#include <new>
#include <utility>

namespace dunlin::pjrt {
namespace {

// A window takes the logits of a step; a larger one, for weights, goes with the first smaller array.
constexpr size_t kLeastWindow = size_t{1} << 20;
constexpr size_t kLargestKeptWindow = size_t{64} << 20;

// What cannot be noted is freed when the process ends.
template <typename Id>
void note_freed(std::mutex& mutex, std::vector<Id>& freed, Id id) noexcept {
  try {
    const std::lock_guard lock(mutex);
    freed.push_back(id);
  } catch (const std::bad_alloc&) {
  }
}

// Far beyond what anyone waits for, and within what a clock can count.
constexpr double kMostSeconds = 1e9;

}  // namespace

Result<std::shared_ptr<PluginCalls>> RemoteCalls::load(const std::string& path,
                                                       const IsolateOptions& options) {
  if (!(options.seconds >= 0 && options.seconds <= kMostSeconds))
    return usage_error(fmt::format("{:g} s for a call of a plug-in", options.seconds));
  DUNLIN_ASSIGN_OR_RETURN(auto process, PluginProcess::start(options.program));
  const std::shared_ptr<RemoteCalls> calls(new RemoteCalls(path, options, std::move(process)));
  MessageWriter fields;
  fields.text(path);
  DUNLIN_ASSIGN_OR_RETURN(calls->facts_, calls->ask_for<PluginFacts>(Request::load, fields));
  return std::shared_ptr<PluginCalls>(calls);
}

RemoteCalls::RemoteCalls(const std::string& path, const IsolateOptions& options,
                         std::unique_ptr<PluginProcess> process)
    : seconds_(options.seconds), process_(std::move(process)) {
  facts_.path = path;
}

std::optional<Error> RemoteCalls::lost() const {
  const std::lock_guard lock(mutex_);
  return failure_;
}

Result<RemoteCalls::LineLease> RemoteCalls::take_line(Request request) {
  const std::lock_guard lock(mutex_);
  if (failure_) return *failure_;
  if (idle_.empty()) {
    DUNLIN_ASSIGN_OR_RETURN(auto sockets, Channel::make_sockets());
    const Transfer given = process_->give(sockets.second);
    if (given != Transfer::done) return fail_locked(request, given);
    idle_.push_back(
        std::make_unique<Line>(Line{Channel(std::move(sockets.first)), SharedMemory()}));
  }
  LineLease line(idle_.back().release(), PutBack{this});
  idle_.pop_back();
  return line;
}

// Where there is no memory to keep it, it is closed.
void RemoteCalls::put_back(Line* line) noexcept {
  std::unique_ptr<Line> owned(line);
  try {
    const std::lock_guard lock(mutex_);
    idle_.push_back(std::move(owned));
  } catch (const std::bad_alloc&) {
  }
}

Result<void> RemoteCalls::make_room(Line& line, size_t bytes) {
  const bool too_large = line.window.size() > kLargestKeptWindow && bytes <= kLargestKeptWindow;
  if (line.window.size() >= bytes && line.window.size() > 0 && !too_large) return {};
  DUNLIN_ASSIGN_OR_RETURN(SharedMemory window, SharedMemory::create(std::max(bytes, kLeastWindow)));
  MessageWriter fields;
  fields.number(window.size());
  DUNLIN_ASSIGN_OR_RETURN(const MessageReader answer,
                          ask(line, Request::window, fields, window.descriptor()));
  if (!answer.is_complete()) return fail(Request::window, Transfer::garbled);
  line.window = std::move(window);
  return {};
}

Result<MessageReader> RemoteCalls::ask(const Line& line, Request request,
                                       const MessageWriter& fields, int descriptor) {
  MessageWriter all;
  {
    const std::lock_guard lock(mutex_);
    if (failure_) return *failure_;
    put(all, freed_);
    freed_ = {};
  }
  all.fields(fields);
  Message message;
  const Transfer transfer = exchange(line, request, all, descriptor, message);
  if (transfer != Transfer::done) return fail(request, transfer);
  MessageReader answer(std::move(message.fields));
  const uint64_t answered = answer.number();
  if (answered == 1) return answer;
  Error error;
  take(answer, error);
  if (answered != 0 || !answer.is_complete()) return fail(request, Transfer::garbled);
  return error;
}

Transfer RemoteCalls::exchange(const Line& line, Request request, const MessageWriter& fields,
                               int descriptor, Message& answer) const {
  const std::chrono::duration<double> limit(seconds_for(request));
  const auto until = std::chrono::steady_clock::now() +
                     std::chrono::duration_cast<std::chrono::steady_clock::duration>(limit);
  const auto kind = static_cast<uint32_t>(request);
  Transfer transfer = line.channel.send(kind, fields.bytes(), until);
  if (transfer == Transfer::done && descriptor >= 0)
    transfer = line.channel.send_descriptor(descriptor, until);
  if (transfer == Transfer::done) transfer = line.channel.receive(answer, until);
  return transfer == Transfer::done && answer.kind != kind ? Transfer::garbled : transfer;
}

template <typename T>
Result<T> RemoteCalls::read(MessageReader answer, Request request) {
  T value = {};
  take(answer, value);
  if (!answer.is_complete()) return fail(request, Transfer::garbled);
  return value;
}

template <typename T>
Result<T> RemoteCalls::ask_for(Request request, const MessageWriter& fields) {
  DUNLIN_ASSIGN_OR_RETURN(const LineLease line, take_line(request));
  DUNLIN_ASSIGN_OR_RETURN(MessageReader answer, ask(*line, request, fields));
  return read<T>(std::move(answer), request);
}

double RemoteCalls::seconds_for(Request request) const {
  if (seconds_ > 0) return seconds_;
  return is_compilation(request) ? kCompileSeconds : kAnswerSeconds;
}

Error RemoteCalls::fail(Request request, Transfer transfer) {
  const std::lock_guard lock(mutex_);
  return fail_locked(request, transfer);
}

Error RemoteCalls::fail_locked(Request request, Transfer transfer) {
  if (failure_) return *failure_;
  std::string what;
  if (transfer == Transfer::late) {
    what = fmt::format("gave no answer within {:g} s (--isolate-timeout)", seconds_for(request));
  } else if (transfer == Transfer::garbled) {
    what = "sent what is no answer";
  } else {
    what = process_->ending();
  }
  process_->kill();
  failure_ = Error{ErrorKind::device, fmt::format("{}: {}: the process of the plug-in {}",
                                                  facts_.path, request_name(request), what)};
  return *failure_;
}

Result<ClientFacts> RemoteCalls::open(int64_t virtual_devices) {
  MessageWriter fields;
  fields.integer(virtual_devices);
  return ask_for<ClientFacts>(Request::open, fields);
}

Result<BufferId> RemoteCalls::upload(const TensorType& type, std::span<const std::byte> data,
                                     int64_t device) {
  DUNLIN_ASSIGN_OR_RETURN(const LineLease line, take_line(Request::upload));
  DUNLIN_RETURN_IF_ERROR(make_room(*line, data.size()));
  if (!data.empty()) std::memcpy(line->window.first(data.size()).data(), data.data(), data.size());
  MessageWriter fields;
  put(fields, type);
  fields.integer(device);
  DUNLIN_ASSIGN_OR_RETURN(MessageReader answer, ask(*line, Request::upload, fields));
  return read<BufferId>(std::move(answer), Request::upload);
}

Result<void> RemoteCalls::download(BufferId buffer, const TensorType& type,
                                   std::span<std::byte> into) {
  DUNLIN_ASSIGN_OR_RETURN(const LineLease line, take_line(Request::download));
  DUNLIN_RETURN_IF_ERROR(make_room(*line, into.size()));
  MessageWriter fields;
  put(fields, buffer);
  put(fields, type);
  DUNLIN_ASSIGN_OR_RETURN(const MessageReader answer, ask(*line, Request::download, fields));
  if (!answer.is_complete()) return fail(Request::download, Transfer::garbled);
  if (!into.empty()) std::memcpy(into.data(), line->window.first(into.size()).data(), into.size());
  return {};
}

Result<uintptr_t> RemoteCalls::address(BufferId buffer) {
  MessageWriter fields;
  put(fields, buffer);
  return ask_for<uintptr_t>(Request::address, fields);
}

void RemoteCalls::free_buffer(BufferId buffer) noexcept {
  note_freed(mutex_, freed_.buffers, buffer);
}

Result<ProgramId> RemoteCalls::compile(const std::string& text, const std::string& options) {
  MessageWriter fields;
  fields.text(text).text(options);
  return ask_for<ProgramId>(Request::compile, fields);
}

Result<ProgramId> RemoteCalls::load_program(const std::string& serialised) {
  MessageWriter fields;
  fields.text(serialised);
  return ask_for<ProgramId>(Request::load_program, fields);
}

Result<std::vector<std::vector<BufferId>>> RemoteCalls::execute(
    ProgramId program, const std::vector<std::vector<BufferId>>& arguments) {
  MessageWriter fields;
  put(fields, program);
  put(fields, arguments);
  return ask_for<std::vector<std::vector<BufferId>>>(Request::execute, fields);
}

Result<MemoryStats> RemoteCalls::memory(ProgramId program) {
  MessageWriter fields;
  put(fields, program);
  return ask_for<MemoryStats>(Request::memory, fields);
}

Result<std::string> RemoteCalls::optimised(ProgramId program) {
  MessageWriter fields;
  put(fields, program);
  return ask_for<std::string>(Request::optimised, fields);
}

Result<std::string> RemoteCalls::serialised(ProgramId program) {
  MessageWriter fields;
  put(fields, program);
  return ask_for<std::string>(Request::serialised, fields);
}

void RemoteCalls::free_program(ProgramId program) noexcept {
  note_freed(mutex_, freed_.programs, program);
}

Result<TopologyFacts> RemoteCalls::describe(
    const std::string& name, const std::vector<std::pair<std::string, std::string>>& options) {
  MessageWriter fields;
  fields.text(name);
  put(fields, options);
  return ask_for<TopologyFacts>(Request::describe, fields);
}

Result<ProgramId> RemoteCalls::compile_for(TopologyId topology, const std::string& text,
                                           const std::string& options) {
  MessageWriter fields;
  put(fields, topology);
  fields.text(text).text(options);
  return ask_for<ProgramId>(Request::compile_for, fields);
}

void RemoteCalls::free_topology(TopologyId topology) noexcept {
  note_freed(mutex_, freed_.topologies, topology);
}

}  // namespace dunlin::pjrt
