// The model families this build can record.
#pragma once

#include <span>

#include "base/metadata.h"
#include "base/result.h"
#include "program/recorder.h"

namespace dunlin {

struct ModelFamily {
  const char* model_type;  // config.json's model_type, also GGUF's general.architecture
  const char* covers;      // for people
  Result<Program> (*record)(const Metadata& config, const RecordOptions& options);
};

std::span<const ModelFamily> model_families();

// The Program of the family that `model_type` names; an unknown one is an error that lists the
// known ones.
Result<Program> record_model(const Metadata& config, const RecordOptions& options);

}  // namespace dunlin
