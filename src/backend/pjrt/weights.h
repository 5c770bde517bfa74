// The weights of a Program in a device's memory, each in the element types it is read in.
#pragma once

#include <functional>
#include <map>
#include <string>
#include <vector>

#include "backend/api.h"
#include "backend/pjrt/client/client.h"
#include "backend/pjrt/lower/lower.h"

namespace dunlin::pjrt {

class DeviceWeights {
 public:
  // Reads, decodes and uploads `uses`, one tensor at a time.
  static Result<DeviceWeights> load(const Client& client, const Program& program,
                                    const std::vector<WeightView>& views,
                                    const std::vector<WeightUse>& uses,
                                    const CompileOptions& options);

  const Buffer& of(const WeightUse& use) const { return buffers_.at(use); }
  uint64_t bytes() const { return bytes_; }

 private:
  std::map<WeightUse, Buffer> buffers_;
  uint64_t bytes_ = 0;
};

// The array that a use of a weight reads.
TensorType weight_type(const Program& program, const WeightUse& use);

// One per declared weight. A weight that is missing or of another shape is an error that names the
// tensor, its file and both shapes.
Result<std::vector<WeightView>> resolve_weights(const Program& program, const WeightSource& source);

// The canonical rows of a weight, row-major, in `element`: as stored where that is the format, else
// decoded to float32 and rounded to nearest even.
Result<std::vector<std::byte>> read_weight(const WeightView& view, Element element);

}  // namespace dunlin::pjrt
