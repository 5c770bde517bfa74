// Budget: what one rendering may still spend; steps bound its time, work bytes bound its time and
// memory.
#pragma once

#include "tokenizer/jinja/limits.h"
#include "tokenizer/jinja/template_error.h"

namespace dunlin::jinja {

class Budget {
 public:
  // One node evaluated or one item visited.
  void step() {
    if (--steps_left_ < 0) throw TemplateError("the template takes more than 1000000 steps");
  }
  // `bytes` about to be made, copied or scanned.
  void work(size_t bytes) {
    if (bytes > work_left_) throw TemplateError("the template makes or scans more than 64 MiB");
    work_left_ -= bytes;
  }

 private:
  int64_t steps_left_ = kMaxSteps;
  size_t work_left_ = kMaxWorkBytes;
};

}  // namespace dunlin::jinja
