// What a request must hold before it is queued, and what it means for the decoder.
#pragma once

#include <dunlin/request.h>

#include "base/result.h"
#include "decode/autoregressive.h"
#include "engine/model.h"

namespace dunlin {

// Errors (kind usage): an empty prompt, an id outside the vocabulary, a prompt that leaves no room
// in the context, a parameter out of range, stop strings without a tokenizer.
Result<void> validate(const Request& request, const Model& model);

// Of a valid request. The answer ends where the context does.
AutoregressiveParams decoder_params(const Request& request, const Model& model);

}  // namespace dunlin
