// Environment variables as a test needs them, and as they were before.
#pragma once

#include <cstdlib>
#include <map>
#include <optional>
#include <string>

namespace dunlin {

// Keeps what a variable was when it first changes it, and puts that back when it is destroyed: also where an
// assertion ends the test early. Other threads must not read the environment while it changes.
class SavedEnvironment {
 public:
  SavedEnvironment() = default;
  // With one variable set from the beginning.
  SavedEnvironment(const std::string& name, const std::string& value) { set(name, value); }
  ~SavedEnvironment() {
    for (const auto& [name, value] : before_) {
      if (value) {
        ::setenv(name.c_str(), value->c_str(), /*overwrite=*/1);
      } else {
        ::unsetenv(name.c_str());
      }
    }
  }
  SavedEnvironment(const SavedEnvironment&) = delete;
  SavedEnvironment& operator=(const SavedEnvironment&) = delete;

  void set(const std::string& name, const std::string& value) {
    keep(name);
    ::setenv(name.c_str(), value.c_str(), /*overwrite=*/1);
  }
  void unset(const std::string& name) {
    keep(name);
    ::unsetenv(name.c_str());
  }

 private:
  void keep(const std::string& name) {
    const auto [kept, is_first] = before_.try_emplace(name);
    const char* const value = std::getenv(name.c_str());
    if (is_first && value != nullptr) kept->second = value;
  }

  std::map<std::string, std::optional<std::string>> before_;  // without a value: not set
};

}  // namespace dunlin
