// A GGUF model that is split over files NAME-00001-of-00003.gguf, NAME-00002-of-00003.gguf, ... as
// one header: the first part has the model's keys, and every part its own tensors and the keys
// split.no (from 0), split.count and, in sum, split.tensors.count.
#pragma once

#include <functional>
#include <memory>
#include <vector>

#include "base/byte_source.h"
#include "checkpoint/gguf_reader.h"

namespace dunlin {

struct GgufModel {
  GgufHeader header;                                       // of the first part, with all tensors
  std::vector<std::shared_ptr<const ByteSource>> sources;  // of each tensor
};

using OpenPart = std::function<Result<std::shared_ptr<const ByteSource>>(const std::string& path)>;

// Reads the header of `first` and, where it is split, of the other parts, whose paths follow from
// its name. A part that is missing, out of place, there twice, or that repeats a tensor is an error
// that names its file.
Result<GgufModel> read_gguf_model(std::shared_ptr<const ByteSource> first, const OpenPart& open);

}  // namespace dunlin
