// Recognises PyTorch's pickled weights by their names; they are never opened.
#include "checkpoint/pickle.h"

#include <fmt/format.h>

#include <algorithm>
#include <filesystem>

namespace dunlin {

bool is_pickle_name(const std::string& path) {
  const std::string extension = std::filesystem::path(path).extension().string();
  constexpr const char* kExtensions[] = {".pth", ".bin", ".pt", ".pkl", ".ckpt"};
  return std::ranges::any_of(kExtensions, [&](const char* known) { return extension == known; });
}

std::optional<std::string> find_pickle(const std::string& folder) {
  std::error_code error;
  for (std::filesystem::directory_iterator it(folder, error), end; !error && it != end;
       it.increment(error)) {
    if (is_pickle_name(it->path().string())) return it->path().string();
  }
  return std::nullopt;
}

Error pickle_error(const std::string& path) {
  return model_error(fmt::format(
      "{}: pickled weights are not read, because reading them runs code; convert the model to "
      "safetensors",
      path));
}

}  // namespace dunlin
