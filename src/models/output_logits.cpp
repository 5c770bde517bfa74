#include "models/output_logits.h"

#include <algorithm>

#include "program/ops.h"

namespace dunlin {

void output_logits(Recorder& recorder, Tensor logits) {
  recorder.output(kLogitsOutput, logits);
  const int64_t k = std::min(recorder.options().logits_view_k, logits.dims().back().size);
  if (k == 0) return;
  const LogitsViewTensors view = logits_view(logits, recorder.temperatures(), k);
  recorder.output(kStatisticsOutput, view.statistics);
  recorder.output(kCandidateIdsOutput, view.ids);
  recorder.output(kCandidateLogitsOutput, view.logits);
}

}  // namespace dunlin
