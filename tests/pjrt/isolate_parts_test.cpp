// What the plug-in's process is reached with: messages, channels, shared memory, and its start.
#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <csignal>
#include <cstddef>
#include <filesystem>
#include <iterator>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "backend/pjrt/isolate/channel.h"
#include "backend/pjrt/isolate/message.h"
#include "backend/pjrt/isolate/plugin_process.h"
#include "backend/pjrt/isolate/protocol.h"
#include "backend/pjrt/isolate/remote_calls.h"
#include "backend/pjrt/isolate/shared_memory.h"
#include "base/file_descriptor.h"

namespace dunlin::pjrt {
namespace {

using testing::HasSubstr;

struct Channels {
  Channel here;
  Channel there;
};

Channels make_channels() {
  auto sockets = Channel::make_sockets();
  EXPECT_TRUE(sockets.ok()) << sockets.error().message;
  return {Channel(std::move(sockets->first)), Channel(std::move(sockets->second))};
}

Deadline now() {
  return std::chrono::steady_clock::now();
}

std::ptrdiff_t open_files() {
  return std::distance(std::filesystem::directory_iterator("/proc/self/fd"),
                       std::filesystem::directory_iterator());
}

std::string fields_of_all_kinds() {
  FreedIds freed;
  freed.buffers = {BufferId{7}, BufferId{8}};
  freed.topologies = {TopologyId{9}};
  const TensorType type{Element::u4, {3, 0, 5}};
  MessageWriter fields;
  put(fields, freed);
  put(fields, type);
  put(fields, std::vector<std::vector<BufferId>>{{BufferId{1}}, {}, {BufferId{2}, BufferId{3}}});
  put(fields, Error{ErrorKind::does_not_fit, "too large"});
  fields.integer(-5);
  return fields.bytes();
}

TEST(Message, FieldsComeBackInTheirOrder) {
  MessageReader reader(fields_of_all_kinds());
  FreedIds freed;
  TensorType type;
  std::vector<std::vector<BufferId>> lists;
  Error error;
  take(reader, freed);
  take(reader, type);
  take(reader, lists);
  take(reader, error);
  EXPECT_EQ(freed.buffers, (std::vector<BufferId>{BufferId{7}, BufferId{8}}));
  EXPECT_TRUE(freed.programs.empty());
  EXPECT_EQ(freed.topologies, std::vector<TopologyId>{TopologyId{9}});
  EXPECT_EQ(type, (TensorType{Element::u4, {3, 0, 5}}));
  ASSERT_EQ(lists.size(), 3u);
  EXPECT_EQ(lists[2], (std::vector<BufferId>{BufferId{2}, BufferId{3}}));
  EXPECT_EQ(error.kind, ErrorKind::does_not_fit);
  EXPECT_EQ(error.message, "too large");
  EXPECT_FALSE(reader.is_complete());
  EXPECT_EQ(reader.integer(), -5);
  EXPECT_TRUE(reader.is_complete());
}

TEST(Message, OneThatIsCutAnywhereIsNotComplete) {
  const std::string whole = fields_of_all_kinds();
  for (size_t size = 0; size < whole.size(); ++size) {
    MessageReader reader(whole.substr(0, size));
    FreedIds freed;
    TensorType type;
    std::vector<std::vector<BufferId>> lists;
    Error error;
    take(reader, freed);
    take(reader, type);
    take(reader, lists);
    take(reader, error);
    reader.integer();
    EXPECT_FALSE(reader.is_complete()) << size;
  }
}

TEST(Message, ALengthThatTheRestCannotHoldIsNotBelieved) {
  for (const uint64_t length : {uint64_t{3}, uint64_t{1} << 40, ~uint64_t{0}}) {
    MessageWriter fields;
    fields.number(length).number(1).number(2);
    MessageReader list(fields.bytes());
    EXPECT_EQ(list.count(), 0u) << length;
    EXPECT_FALSE(list.is_complete()) << length;
    MessageReader text(MessageWriter().number(length).bytes());
    EXPECT_EQ(text.text(), "") << length;
    EXPECT_FALSE(text.is_complete()) << length;
  }
}

TEST(Message, AnErrorOfNoKindIsOneOfTheDevice) {
  MessageReader reader(MessageWriter().number(99).text("?").bytes());
  Error error;
  take(reader, error);
  EXPECT_EQ(error.kind, ErrorKind::device);
}

TEST(Channel, MessagesArriveWhateverTheirSize) {
  const Channels channels = make_channels();
  for (const size_t size : {size_t{0}, size_t{1}, size_t{9} << 20}) {
    std::string fields(size, 'a');
    if (size > 0) fields.back() = 'z';
    std::thread sender([&] { EXPECT_EQ(channels.there.send(7, fields, {}), Transfer::done); });
    Message message;
    EXPECT_EQ(channels.here.receive(message, {}), Transfer::done);
    sender.join();
    EXPECT_EQ(message.kind, 7u);
    EXPECT_TRUE(message.fields == fields) << size;
  }
}

TEST(Channel, WaitsNoLongerThanItMay) {
  const Channels channels = make_channels();
  Message message;
  EXPECT_EQ(channels.here.receive(message, now()), Transfer::late);
  EXPECT_EQ(channels.here.receive(message, *now() + std::chrono::milliseconds(20)), Transfer::late);
  // More than the socket holds, and nobody takes it.
  EXPECT_EQ(channels.here.send(1, std::string(size_t{16} << 20, 'a'), now()), Transfer::late);
}

TEST(Channel, TheEndOfTheOtherSideIsNoticed) {
  auto sockets = Channel::make_sockets();
  ASSERT_TRUE(sockets.ok());
  const Channel here(std::move(sockets->first));
  Message message;
  std::thread closer(
      [socket = std::move(sockets->second)]() mutable { socket = FileDescriptor(); });
  EXPECT_EQ(here.receive(message, {}), Transfer::closed);
  closer.join();
  EXPECT_EQ(here.send(1, "x", {}), Transfer::closed);
  FileDescriptor descriptor;
  EXPECT_EQ(here.receive_descriptor(descriptor, {}), Transfer::closed);
}

TEST(Channel, WhatIsNoMessageIsNotTakenForOne) {
  auto sockets = Channel::make_sockets();
  ASSERT_TRUE(sockets.ok());
  const int raw = sockets->second.get();
  const Channel here(std::move(sockets->first));
  const std::string nonsense(16, '?');
  ASSERT_EQ(::send(raw, nonsense.data(), nonsense.size(), 0), 16);
  Message message;
  EXPECT_EQ(here.receive(message, {}), Transfer::garbled);
  ASSERT_EQ(::send(raw, "?", 1, 0), 1);
  FileDescriptor descriptor;
  EXPECT_EQ(here.receive_descriptor(descriptor, {}), Transfer::garbled);
}

TEST(Channel, DescriptorsArriveBetweenMessages) {
  const Channels channels = make_channels();
  int ends[2] = {-1, -1};
  ASSERT_EQ(::pipe2(ends, O_CLOEXEC), 0);
  const FileDescriptor reading(ends[0]);
  const FileDescriptor writing(ends[1]);
  ASSERT_EQ(channels.here.send(1, "before", {}), Transfer::done);
  ASSERT_EQ(channels.here.send_descriptor(writing.get(), {}), Transfer::done);
  ASSERT_EQ(channels.here.send(2, "behind", {}), Transfer::done);
  Message message;
  FileDescriptor given;
  ASSERT_EQ(channels.there.receive(message, {}), Transfer::done);
  EXPECT_EQ(message.fields, "before");
  ASSERT_EQ(channels.there.receive_descriptor(given, {}), Transfer::done);
  ASSERT_EQ(channels.there.receive(message, {}), Transfer::done);
  EXPECT_EQ(message.fields, "behind");
  EXPECT_NE(given.get(), writing.get());
  EXPECT_NE(::fcntl(given.get(), F_GETFD) & FD_CLOEXEC, 0);
  ASSERT_EQ(::write(given.get(), "!", 1), 1);
  char byte = 0;
  ASSERT_EQ(::read(reading.get(), &byte, 1), 1);
  EXPECT_EQ(byte, '!');
}

TEST(SharedMemory, IsSeenByBothSidesAndStaysAsLargeAsItIs) {
  const auto ours = SharedMemory::create(5000);
  ASSERT_TRUE(ours.ok()) << ours.error().message;
  EXPECT_EQ(ours->size(), 8192u);
  auto theirs = SharedMemory::map(FileDescriptor(::dup(ours->descriptor())), ours->size());
  ASSERT_TRUE(theirs.ok()) << theirs.error().message;
  theirs->first(8192)[8191] = std::byte{42};
  EXPECT_EQ(ours->first(8192)[8191], std::byte{42});
  EXPECT_NE(::ftruncate(ours->descriptor(), 4096), 0);
  EXPECT_FALSE(SharedMemory::map(FileDescriptor(::dup(ours->descriptor())), 12288).ok());
  EXPECT_FALSE(SharedMemory::map(FileDescriptor(), 4096).ok());
}

TEST(SharedMemory, ThatTheSystemDoesNotGiveIsAnError) {
  rlimit before = {};
  ASSERT_EQ(::getrlimit(RLIMIT_FSIZE, &before), 0);
  const auto handler = std::signal(SIGXFSZ, SIG_IGN);
  const rlimit less = {4096, before.rlim_max};
  ASSERT_EQ(::setrlimit(RLIMIT_FSIZE, &less), 0);
  const auto memory = SharedMemory::create(8192);
  ASSERT_EQ(::setrlimit(RLIMIT_FSIZE, &before), 0);
  std::signal(SIGXFSZ, handler);
  ASSERT_FALSE(memory.ok());
  EXPECT_EQ(memory.error().kind, ErrorKind::does_not_fit);
  EXPECT_THAT(memory.error().message, HasSubstr("8192 bytes"));
}

TEST(PluginProcess, AnotherProgramIsAnErrorThatNamesIt) {
  for (const auto& [program, problem] : {std::pair{"/no/such/program", "No such file or directory"},
                                         std::pair{"/bin/true", "it ended with exit code 0"},
                                         std::pair{"/bin/false", "it ended with exit code 1"}}) {
    const auto process = PluginProcess::start(program);
    ASSERT_FALSE(process.ok()) << program;
    EXPECT_EQ(process.error().kind, ErrorKind::device);
    EXPECT_THAT(process.error().message, HasSubstr(program));
    EXPECT_THAT(process.error().message, HasSubstr(problem));
  }
  EXPECT_EQ(::waitpid(-1, nullptr, WNOHANG), -1);
  EXPECT_EQ(errno, ECHILD);
}

TEST(PluginProcess, EndsWhenNobodyHoldsIt) {
  {
    const auto process = PluginProcess::start(DUNLIN_BINARY);
    ASSERT_TRUE(process.ok()) << process.error().message;
    EXPECT_EQ(::waitpid(-1, nullptr, WNOHANG), 0);  // it runs
  }
  EXPECT_EQ(::waitpid(-1, nullptr, WNOHANG), -1);
  EXPECT_EQ(errno, ECHILD);
}

TEST(PluginProcess, GetsNoOtherFileOfThisProcess) {
  int ends[2] = {-1, -1};
  ASSERT_EQ(::pipe2(ends, O_NONBLOCK), 0);
  const FileDescriptor reading(ends[0]);
  FileDescriptor writing(ends[1]);
  const auto process = PluginProcess::start(DUNLIN_BINARY);
  ASSERT_TRUE(process.ok()) << process.error().message;
  writing = FileDescriptor();
  char byte = 0;
  EXPECT_EQ(::read(reading.get(), &byte, 1), 0);  // nobody else can write
}

// Of a process that greets as it should (garbling_host.cpp).
TEST(RemoteCalls, WhatIsNoAnswerIsAnErrorAndEndsTheProcess) {
  IsolateOptions options;
  options.program = DUNLIN_GARBLING_HOST;
  const auto before = open_files();
  {
    const auto whole = RemoteCalls::load("whole", options);
    ASSERT_TRUE(whole.ok()) << whole.error().message;
    EXPECT_EQ((*whole)->plugin().api_version, "0.81");
  }
  for (const std::string answer : {"too short", "too long", "neither an answer nor an error",
                                   "no message", "of another request"}) {
    const auto calls = RemoteCalls::load(answer, options);
    ASSERT_FALSE(calls.ok()) << answer;
    EXPECT_EQ(calls.error().kind, ErrorKind::device);
    EXPECT_EQ(calls.error().message,
              answer + ": load the plug-in: the process of the plug-in sent what is no answer");
    EXPECT_EQ(::waitpid(-1, nullptr, WNOHANG), -1);
    EXPECT_EQ(errno, ECHILD);
  }
  EXPECT_EQ(open_files(), before);
}

}  // namespace
}  // namespace dunlin::pjrt
