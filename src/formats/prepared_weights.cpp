#include "formats/prepared_weights.h"

#include <fmt/format.h>

namespace dunlin {

Error PreparedWeights::unsuitable(const std::string& problem, const std::string& flags) const {
  return model_error(fmt::format("{}: {}; `dunlin convert {} OUT --to prepared{}` makes another",
                                 name(), problem, source(), flags));
}

std::optional<size_t> WeightPacker::companion(size_t /*part*/) const {
  return std::nullopt;
}

}  // namespace dunlin
