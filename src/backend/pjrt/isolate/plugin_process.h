// PluginProcess: the child process that has the plug-in (plugin_host.cpp), from the side of its parent.
#pragma once

#include <sys/types.h>

#include <chrono>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <utility>

#include "backend/pjrt/isolate/channel.h"
#include "base/file_descriptor.h"
#include "base/result.h"

namespace dunlin::pjrt {

// Where a child finds its end of the socket over which it is given its channels.
inline constexpr int kPluginHostSocket = 3;
// What it says there first. The number changes with the messages.
inline constexpr std::string_view kGreeting = "dunlin plug-in host 1";
inline constexpr uint32_t kGreetingKind = 0;

// A started process takes milliseconds to say that; a machine may be busy.
inline constexpr std::chrono::seconds kStartTime{60};
// For a process that was killed, or has closed its sockets, to be gone.
inline constexpr std::chrono::seconds kEndTime{10};

// One thread at a time.
class PluginProcess {
 public:
  // Starts `program`, a `dunlin`, and waits for its greeting. Errors (kind device) name the program.
  static Result<std::unique_ptr<PluginProcess>> start(const std::string& program);
  // Kills it.
  ~PluginProcess();
  PluginProcess(const PluginProcess&) = delete;
  PluginProcess& operator=(const PluginProcess&) = delete;

  // Gives the child an end of a channel, which a thread of it answers.
  Transfer give(const FileDescriptor& socket);

  // Ends it, whatever it does.
  void kill();
  // How it ended, once its sockets are closed: "ended with signal 9 (Killed)". Kills it where it does
  // not end by itself.
  const std::string& ending();

 private:
  PluginProcess(pid_t process, pid_t owner, Channel control)
      : process_(process), owner_(owner), control_(std::move(control)) {}
  Result<void> await_greeting(const std::string& program);
  bool is_gone();    // and waited for
  bool await_end();  // for kEndTime; false: it runs still

  pid_t process_;
  pid_t owner_;  // the process that started it; one that was forked from that leaves it alone
  Channel control_;
  std::string ending_;  // empty: it runs, as far as anybody knows
};

}  // namespace dunlin::pjrt
