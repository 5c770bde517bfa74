// Models as configurations and declared shapes, without bytes of weights.
#pragma once

#include <cstdint>
#include <string>

#include "backend/api.h"
#include "base/metadata.h"
#include "formats/format.h"
#include "program/program.h"

namespace dunlin::pjrt {

struct DenseShape {
  int64_t width = 0;
  int64_t layers = 0;
  int64_t heads = 0;
  int64_t kv_heads = 0;
  int64_t ffn = 0;
  int64_t vocabulary = 0;
  double rope_theta = 10000.0;
};

// The keys that every family reads.
Metadata dense_config(const std::string& family, const DenseShape& shape);

// The weights of a Program with their declared shapes in one format. Their source is empty.
WeightSource shapes_of(const Program& program, Format format);

}  // namespace dunlin::pjrt
