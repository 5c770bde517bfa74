// Model files that are wrong in one place each.
#pragma once

#include <functional>
#include <ostream>
#include <string>
#include <vector>

namespace dunlin {

struct MalformedFile {
  std::string name;                                     // of the test
  std::string file;                                     // which is wrong: the message names it
  std::string problem;                                  // what else the message says
  std::function<void(const std::string& folder)> make;  // in an empty folder
  std::string model = "";   // below the folder, if not the folder itself
  std::string prompt = "";  // empty: token ids, which need no tokenizer
  int code = 3;             // the exit code
};

// For GoogleTest.
inline void PrintTo(const MalformedFile& file, std::ostream* stream) {
  *stream << file.name;
}

std::vector<MalformedFile> malformed_gguf_headers();
std::vector<MalformedFile> malformed_gguf_tensors();
std::vector<MalformedFile> malformed_gguf_keys();
std::vector<MalformedFile> files_of_other_kinds();
std::vector<MalformedFile> malformed_safetensors();
std::vector<MalformedFile> malformed_indexes();
std::vector<MalformedFile> malformed_configurations();
std::vector<MalformedFile> malformed_tokenizers();
std::vector<MalformedFile> malformed_templates();

}  // namespace dunlin
