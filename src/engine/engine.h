// What the tree itself uses beyond <dunlin/engine.h>: an engine over a model that was loaded before.
#pragma once

#include <dunlin/engine.h>

#include "artifact/reader.h"
#include "artifact/writer.h"
#include "engine/model.h"

namespace dunlin {

// `model` outlives the engine. Errors: no memory for the KV cache.
Result<Engine> make_engine(Model& model);

// Sessions in files (engine/session_file.h). All for the owner of step().
//
// What the bytes of a session are valid for: the key of an artifact with one.
Result<std::string> session_key(const Engine& engine);
// Adds to `writer` what the session holds between its requests, so that load_session() continues it
// without computing it again. Returns the number of tokens, 0 when there is nothing that could be
// continued.
Result<int64_t> save_session(const Engine& engine, SessionId session, ArtifactWriter& writer);
// Takes that over, in the place of what the session holds. The caller has compared the keys. Returns
// the number of tokens, 0 where `kv-cache` is disabled. Errors: damage, and more tokens than the
// context (kind usage).
Result<int64_t> load_session(Engine& engine, SessionId session, const ArtifactReader& reader);

}  // namespace dunlin
