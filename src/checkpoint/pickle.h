// Recognises PyTorch's pickled weights, which run code when they are read and are refused.
#pragma once

#include <optional>
#include <string>

#include "base/result.h"

namespace dunlin {

bool is_pickle_name(const std::string& path);  // .pth .bin .pt .pkl .ckpt
std::optional<std::string> find_pickle(const std::string& folder);
Error pickle_error(const std::string& path);

}  // namespace dunlin
