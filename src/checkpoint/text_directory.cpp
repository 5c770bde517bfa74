#include "checkpoint/text_directory.h"

#include <filesystem>
#include <system_error>

namespace dunlin {

std::string text_directory(const Checkpoint& checkpoint) {
  namespace fs = std::filesystem;
  const std::string& own = checkpoint.path();
  std::error_code error;
  if (fs::exists(own + "/tokenizer.json", error)) return own;
  // "." and "original/" have no such name by themselves.
  const fs::path whole = fs::canonical(own, error);
  if (error || whole.filename() != "original") return own;
  std::string above = whole.parent_path().string();
  return fs::exists(above + "/tokenizer.json", error) ? above : own;
}

}  // namespace dunlin
