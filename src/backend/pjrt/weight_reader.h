// WeightReader: shares of weights, what is stored in turn from one reading.
#pragma once

#include <cstddef>
#include <map>
#include <optional>
#include <tuple>
#include <vector>

#include "base/index_runs.h"
#include "base/result.h"
#include "formats/weight_box.h"
#include "formats/weight_view.h"
#include "program/program.h"

namespace dunlin::pjrt {

// Gate and up of experts may be rows in turn of one tensor. Who asks for a share of one gets it from a
// reading of both; the other's bytes wait, as they are stored, until the same share of it is asked for,
// so that memory holds one weight more.
class WeightReader {
 public:
  // `views` outlive it.
  explicit WeightReader(const std::vector<WeightView>& views);

  // A share of a weight, to be read from what is returned: of a pair from memory, else from its source.
  Result<BoxOfWeight> box_of(WeightId weight, const WeightBox& share);

 private:
  using Key = std::tuple<WeightId, IndexRuns, IndexRuns>;  // rows and columns of the share

  Result<void> read_pair(const RowPair& pair, const WeightBox& share);

  const std::vector<WeightView>& views_;
  std::vector<std::optional<RowPair>> pairs_;  // of each view
  std::map<Key, WeightView> waiting_ = {};     // in memory
};

}  // namespace dunlin::pjrt
