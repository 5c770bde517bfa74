// What `dunlin plan` plans for: a checkpoint's headers, or a configuration alone.
#pragma once

#include <memory>
#include <string>

#include "backend/api.h"
#include "base/metadata.h"
#include "checkpoint/checkpoint.h"
#include "planner/storage.h"
#include "program/program.h"

namespace dunlin {

struct PlanSource {
  std::string path;
  Metadata config;
  Program program;
  std::unique_ptr<Checkpoint> checkpoint = {};  // null: a configuration alone
  WeightSource weights = {};                    // formats and shapes; not to be read
  int64_t parameters = 0;
  int64_t trained_context = 0;
};

// A Hugging Face directory with or without weights, a .gguf file, or a file in the form of
// config.json. Without weights every matrix is taken to be in BF16. `mix`: as if `dunlin quantize`
// with this type had written it; empty: as it is. Errors (kind usage): a mix without weights.
Result<PlanSource> open_plan_source(const std::string& path, int64_t layers,
                                    const std::string& mix = {});

// Whether the name is that of a type of `dunlin quantize`, and of no single format.
bool is_mix(const std::string& name);

// The names as those of formats of files: int8, of which one scale serves a row, is I8 there. Errors (kind
// usage): --quantize or --output-type is no such name.
Result<Requantization> in_files(const Requantization& named);

// The same weights with matrices in other formats, for a back end that computes its own footprint:
// only formats of files (formats/format.h). Errors: kind usage.
Result<WeightSource> in_formats(const PlanSource& source, const Requantization& to);

// "Q4_0 (197), F32 (61)"; matrices of the Program by format.
std::string storage_summary(const Program& program, const WeightStorage& storage);

}  // namespace dunlin
