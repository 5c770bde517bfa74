// Decides what kind of checkpoint a path is.
#include <fmt/format.h>

#include <array>
#include <filesystem>

#include "base/atomic_folder.h"
#include "checkpoint/checkpoint.h"
#include "checkpoint/gguf_checkpoint.h"
#include "checkpoint/hf_directory.h"
#include "checkpoint/pickle.h"
#include "checkpoint/prepared_directory.h"
#include "checkpoint/resumable_file.h"

namespace dunlin {
namespace {

bool names_a_directory_file(const std::string& name) {
  return name == "config.json" || name == "model.safetensors" ||
         name == "model.safetensors.index.json";
}

// Files without the extension .gguf, as content-addressed caches have them, are known by their
// magic number.
bool begins_with_gguf(const ByteSource& source) {
  std::array<char, 4> magic{};
  return source.read_at(0, std::as_writable_bytes(std::span(magic))).ok() &&
         std::string_view(magic.data(), 4) == "GGUF";
}

Error unfinished(const std::string& path) {
  return model_error(
      path +
      ": is not finished: the command that wrote it was ended. The same command goes "
      "on from there");
}

Result<std::unique_ptr<Checkpoint>> open_directory(const std::string& path) {
  if (AtomicFolder::is_unfinished(path)) return unfinished(path);
  if (is_prepared_directory(path)) return open_prepared_directory(path);
  return open_hf_directory(path);
}

}  // namespace

Result<std::unique_ptr<Checkpoint>> open_checkpoint(const std::string& path) {
  const std::filesystem::path file_path(path);
  std::error_code error;
  const auto status = std::filesystem::status(file_path, error);
  if (status.type() == std::filesystem::file_type::directory) return open_directory(path);
  if (is_pickle_name(path)) return pickle_error(path);
  if (ResumableFile::is_unfinished(path)) return unfinished(path);
  DUNLIN_ASSIGN_OR_RETURN(auto source, open_file(path));
  if (names_a_directory_file(file_path.filename().string())) {
    const std::string folder = file_path.parent_path().string();
    return open_directory(folder.empty() ? "." : folder);
  }
  if (file_path.extension() == ".gguf" || begins_with_gguf(*source))
    return open_gguf(std::move(source));
  return model_error(
      fmt::format("{}: neither a GGUF file nor a file of a Hugging Face directory", path));
}

}  // namespace dunlin
