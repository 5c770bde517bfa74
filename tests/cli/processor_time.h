// Whether this system counts the time of its processors, as seen without the code under test: a
// sandbox may have a /proc/stat of zeros, or none.
#pragma once

#include <fstream>
#include <string>

namespace dunlin {

inline bool counts_processor_time() {
  std::ifstream file("/proc/stat");
  std::string name, user;
  file >> name >> user;
  return name == "cpu" && user.find_first_not_of('0') != std::string::npos;
}

}  // namespace dunlin
