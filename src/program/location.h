// Source lines in messages: "src/models/llama.cpp:41", wherever the source tree was built.
#pragma once

#include <source_location>
#include <string>

namespace dunlin {

std::string location_text(const std::source_location& where);

}  // namespace dunlin
