// GPT-OSS: mixtures of experts, attention sinks, and windows in every other layer.
#pragma once

#include "base/metadata.h"
#include "base/result.h"
#include "program/recorder.h"

namespace dunlin {

// gpt-oss-20b and gpt-oss-120b (model_type "gpt_oss").
Result<Program> record_gpt_oss(const Metadata& config, const RecordOptions& options);

}  // namespace dunlin
