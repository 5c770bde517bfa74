// The plug-in of faulty_plugin.cpp, and its process from outside.
#pragma once

#include <gtest/gtest.h>
#include <signal.h>
#include <sys/types.h>
#include <unistd.h>

#include <chrono>
#include <filesystem>
#include <fstream>
#include <string>
#include <thread>

#include "support/saved_environment.h"

namespace dunlin {

// What goes wrong in the plug-ins that are loaded during its life, here and in processes that are started.
class PluginFault {
 public:
  // Which calls count.
  enum class Counts { all, once_started };

  // "CALL NUMBER ACTION"
  explicit PluginFault(const std::string& what, Counts counts = Counts::all) {
    environment_.set("DUNLIN_TEST_FAULT", what);
    environment_.set("DUNLIN_TEST_FAULT_FILE", file_);
    if (counts == Counts::once_started) environment_.set("DUNLIN_TEST_FAULT_START", start_);
  }
  ~PluginFault() {
    std::filesystem::remove(file_);
    std::filesystem::remove(start_);
  }
  PluginFault(const PluginFault&) = delete;
  PluginFault& operator=(const PluginFault&) = delete;

  // From here on calls count.
  void start() const { std::ofstream(start_).flush(); }

  struct Processes {
    pid_t plugin = 0;
    pid_t parent = 0;
  };
  // Waits until the call comes; zeros when that takes minutes.
  Processes wait() const {
    Processes found;
    for (int i = 0; i < 30000; ++i) {
      std::ifstream file(file_);
      if (file >> found.plugin >> found.parent) return found;
      std::this_thread::sleep_for(std::chrono::milliseconds(10));
    }
    ADD_FAILURE() << "the call that was to go wrong did not come";
    return {};
  }
  // kill -9 of the plug-in's process, or of its parent, once the call comes.
  void kill_plugin() const { kill_one(wait().plugin); }
  void kill_parent() const { kill_one(wait().parent); }

 private:
  // 0 would be this process's group.
  static void kill_one(pid_t process) {
    if (process > 0) ::kill(process, SIGKILL);
  }

  std::string file_ =
      testing::TempDir() + "dunlin_fault_" + std::to_string(static_cast<long>(::getpid()));
  std::string start_ = file_ + ".start";
  SavedEnvironment environment_;
};

// Whether a process has ended, waited for or not.
inline bool has_ended(pid_t process) {
  std::string path = "/proc/";
  path += std::to_string(static_cast<long>(process));
  path += "/stat";
  std::ifstream file(path);
  std::string line;
  if (!std::getline(file, line)) return true;
  const size_t name_end = line.rfind(')');
  return name_end != std::string::npos && line.compare(name_end, 3, ") Z") == 0;
}

}  // namespace dunlin
