// Text that a user names: a file, a pipe or stdin. Unlike a file of a model it may be a FIFO, as
// the shell's <(...) is.
#pragma once

#include <chrono>
#include <cstdint>
#include <string>
#include <vector>

#include "base/file_descriptor.h"
#include "base/result.h"

namespace dunlin {

inline constexpr uint64_t kMostPromptBytes = 64u << 20;
// Of eval and imatrix, which hold the text and its ids whole: about twice this in memory.
inline constexpr uint64_t kMostCorpusBytes = uint64_t{1} << 30;

// All that is left to read, at most `limit` bytes. Errors (kind usage) begin with `name`.
Result<std::string> read_descriptor(int descriptor, const std::string& name, uint64_t limit);
Result<std::string> read_user_file(const std::string& path, uint64_t limit);

// The lines of a text, without their line feeds; the last one needs none.
std::vector<std::string> text_lines(const std::string& text);

// The file, or stdin for "-".
Result<FileDescriptor> open_user_file(const std::string& path);

// What a pipe or file on stdin holds; nothing for a terminal or a device. A pipe into which nobody
// has written by the deadline, and that nobody has closed, is left alone: `silent` is then set.
// Whoever starts a command often leaves it such a pipe.
struct OfferedInput {
  std::string text = {};
  bool silent = false;
};
Result<OfferedInput> read_offered_stdin(std::chrono::steady_clock::time_point deadline);

}  // namespace dunlin
