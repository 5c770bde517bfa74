// The model families this build can record.
#pragma once

#include <optional>
#include <span>

#include "base/metadata.h"
#include "base/result.h"
#include "models/dream.h"
#include "program/recorder.h"

namespace dunlin {

struct ModelFamily {
  const char* model_type;  // config.json's model_type
  const char* covers;      // for people
  Result<Program> (*record)(const Metadata& config, const RecordOptions& options);
  // Of a family that fills in masks; null: one that writes token after token.
  Result<MaskedDiffusion> (*diffusion)(const Metadata& config) = nullptr;
};

std::span<const ModelFamily> model_families();

// The Program of the family that `model_type` names; an unknown one is an error that lists the
// known ones.
Result<Program> record_model(const Metadata& config, const RecordOptions& options);

// How the model fills in masks; nothing for one that writes token after token.
Result<std::optional<MaskedDiffusion>> diffusion_of(const Metadata& config);

}  // namespace dunlin
