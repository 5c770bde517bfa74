// The fields of a canonical configuration that both containers have: how each file spells them,
// their ranges, defaults and how they must agree.
#pragma once

#include <string>
#include <string_view>

#include "base/metadata.h"
#include "base/result.h"
#include "checkpoint/families.h"

namespace dunlin {

enum class ConfigSpelling { hugging_face, gguf };

// Reads every size and number of the model from `source` into a configuration of the same origin:
// model_type, hidden_size ... rope_theta (see checkpoint.h), with missing optional ones filled in.
// `source` holds config.json's top-level keys, or a GGUF header. The errors name the key as the
// file spells it.
Result<Metadata> canonical_config(const Metadata& source, ConfigSpelling spelling,
                                  const StoredFamily& family);

// Adds an end-of-sequence id (>= 0) to eos_token_id, once. An id outside the vocabulary can never
// be sampled and is dropped: configurations of cut-down vocabularies keep such ids.
Result<void> add_eos_token(Metadata& config, int64_t id);

// Copies generation.{temperature, top_p, ...} from keys that begin with `prefix`, with their ranges
// checked.
Result<void> add_generation(Metadata& config, const Metadata& source, ConfigSpelling spelling);

}  // namespace dunlin
