// What readers of all containers say of a tensor that is wrong.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "checkpoint/checkpoint.h"

namespace dunlin {

// "FILE: the tensor NAME `problem`", of kind model.
Error tensor_error(const std::string& file, const std::string& name, std::string_view problem);
Error tensor_error(const TensorInfo& tensor, std::string_view problem);

// An error with both shapes where they differ.
Result<void> check_tensor_shape(const TensorInfo& tensor, const std::vector<int64_t>& expected);

}  // namespace dunlin
