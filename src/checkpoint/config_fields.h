// The keys of a model's configuration that both containers have, one row each: how config.json and
// a GGUF header spell it, its kind and its range. Reading and writing of either container go
// through these rows. Names: transformers' configuration classes; ggml's docs/gguf.md and
// llama.cpp's gguf-py/gguf/constants.py.
#pragma once

#include <span>
#include <string>
#include <string_view>

#include "base/metadata.h"
#include "base/result.h"
#include "checkpoint/families.h"

namespace dunlin {

struct ConfigField {
  enum class Kind { integer, number, boolean };
  enum class Need { optional, required, required_in_gguf };

  const char* key;   // canonical, as in config.json or generation_config.json
  const char* gguf;  // without its prefix; null: GGUF has no such key
  Kind kind;
  double low, high;  // inclusive
  Need need;
  bool StoredFamily::* only_with = nullptr;  // null: every family has it
};

// Sizes and numbers of the model. In GGUF the prefix is the architecture's name and a dot.
std::span<const ConfigField> model_fields();

// Settings of sampling; canonical keys begin with "generation.". In GGUF the prefix is
// "general.sampling.".
std::span<const ConfigField> generation_fields();

// The value under `name`, of the field's kind and within its range; the error names file and key.
Result<Metadata::Value> read_field(const Metadata& source, const std::string& name,
                                   const ConfigField& field);

}  // namespace dunlin
