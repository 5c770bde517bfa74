// The weights of a Program in the memory of its devices, each in the forms it is read in.
#pragma once

#include <functional>
#include <map>
#include <string>
#include <vector>

#include "backend/api.h"
#include "backend/pjrt/client/client.h"
#include "backend/pjrt/lower/lower.h"
#include "backend/pjrt/pack_weight.h"
#include "backend/pjrt/weight_reader.h"
#include "base/thread_pool.h"
#include "formats/weight_box.h"

namespace dunlin::pjrt {

class DeviceWeights {
 public:
  // Reads `uses`, brings them into their forms on options.threads threads and uploads them, one tensor
  // at a time, gate and up of one tensor from one reading: for a mesh what each device holds of it,
  // once for all devices that hold the same. `sharding` is null for one device. XLA for CPU computes with
  // what lies in its file as it is needed, at a multiple of 64 bytes, without a copy, but for
  // LoadMode::copy.
  static Result<DeviceWeights> load(const Client& client, const Program& program,
                                    const std::vector<WeightView>& views,
                                    const std::vector<WeightUse>& uses,
                                    const CompileOptions& options,
                                    const ProgramSharding* sharding = nullptr);

  // In the order of weight_types().
  const std::vector<Buffer>& of(const WeightUse& use, size_t device = 0) const {
    return buffers_.at(use)[device];
  }
  uint64_t bytes() const { return bytes_; }  // of all devices

 private:
  using Arrays = std::vector<std::vector<Buffer>>;  // by device
  std::map<WeightUse, Arrays> buffers_;
  uint64_t bytes_ = 0;
};

// The canonical rows of a weight, row-major, in `element`: as stored where that is the format, else
// decoded to float32 and rounded to nearest even.
Result<std::vector<std::byte>> read_weight(const WeightView& view, Element element);
// The same of some rows and columns; what pads them is zero. No more than those are read.
Result<std::vector<std::byte>> read_share(const WeightView& view, const WeightBox& share,
                                          Element element);

// The arrays of a use of a weight, as weight_types() says, of what the box holds of it.
Result<HostArrays> read_arrays(const WeightView& view, const WeightBox& box, const WeightUse& use,
                               const std::vector<TensorType>& types, ThreadPool& pool);

}  // namespace dunlin::pjrt
