// What the tree itself uses beyond <dunlin/engine.h>: an engine over a model that was loaded before.
#pragma once

#include <dunlin/engine.h>

#include "engine/model.h"

namespace dunlin {

// `model` outlives the engine. Errors: no memory for the KV cache.
Result<Engine> make_engine(Model& model);

}  // namespace dunlin
