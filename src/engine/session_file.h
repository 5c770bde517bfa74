// A sequence of the KV cache in an artifact: its tokens, and the bytes of the pages of each KV group.
#pragma once

#include <cstdint>
#include <string>

#include "artifact/reader.h"
#include "artifact/writer.h"
#include "base/result.h"
#include "cache/kv_cache.h"
#include "engine/model.h"

namespace dunlin {

// What the bytes of a page depend on: the model's fingerprint, the Program's hash, the precision and
// the layout of the KV state. Two sequences with one key and the same tokens have the same bits.
Result<std::string> sequence_key(const Model& model, const KvState& state);

// Adds the chunks kv.tokens (i32) and kv.N for each group. Returns the number of tokens; 0, and
// nothing added, when the sequence is empty or has given pages back (windows, evictions), for it
// cannot be continued elsewhere, and when the back end cannot save pages.
Result<int64_t> write_sequence(ArtifactWriter& writer, const KvCache& cache, int32_t slot,
                               const KvState& state);

bool has_sequence(const ArtifactReader& reader);

// Reads all of it once: checksums, and sizes that agree with each other and the state.
Result<void> check_sequence(const ArtifactReader& reader, const KvState& state);

// A new slot with the tokens and pages. Errors: as check_sequence(), no free slot, and a context or
// pool that is too small.
Result<int32_t> read_sequence(const ArtifactReader& reader, KvCache& cache, KvState& state);

}  // namespace dunlin
