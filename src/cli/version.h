// What this build is.
#pragma once

#include <string>

namespace dunlin {

const char* version();           // "0.1.0"
std::string compiler_version();  // "g++ 12.2.0"

}  // namespace dunlin
