// The last step of every model: logits as outputs.
#pragma once

#include "program/recorder.h"

namespace dunlin {

// Makes logits [R,V] an output and, where RecordOptions::logits_view_k asks for it, their view: the
// statistics and the best k candidates that the sampler reads.
void output_logits(Recorder& recorder, Tensor logits);

}  // namespace dunlin
