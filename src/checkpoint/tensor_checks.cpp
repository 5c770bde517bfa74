#include "checkpoint/tensor_checks.h"

#include <fmt/format.h>

namespace dunlin {

Error tensor_error(const std::string& file, const std::string& name, std::string_view problem) {
  return model_error(fmt::format("{}: the tensor {} {}", file, name, problem));
}

Error tensor_error(const TensorInfo& tensor, std::string_view problem) {
  return tensor_error(tensor.file, tensor.name, problem);
}

Result<void> check_tensor_shape(const TensorInfo& tensor, const std::vector<int64_t>& expected) {
  if (tensor.shape == expected) return {};
  return tensor_error(tensor,
                      fmt::format("has the shape [{}]; the configuration gives [{}]",
                                  fmt::join(tensor.shape, ", "), fmt::join(expected, ", ")));
}

}  // namespace dunlin
