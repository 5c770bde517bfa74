#include "convert/unread_weights.h"

#include <fmt/format.h>

#include <string_view>
#include <unordered_set>

namespace dunlin {

Result<void> check_all_are_read(const Checkpoint& checkpoint, const Program& program) {
  std::unordered_set<std::string_view> read;
  for (const WeightDeclaration& weight : program.weights) read.insert(weight.name);
  for (const WeightInfo& weight : checkpoint.weights()) {
    if (read.contains(weight.name)) continue;
    const TensorInfo& tensor = checkpoint.tensors()[weight.tensor];
    return model_error(
        fmt::format("{}: the tensor {} is not read by a {} model with this configuration",
                    tensor.file, tensor.name, program.model));
  }
  return {};
}

}  // namespace dunlin
