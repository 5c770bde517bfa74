// Where checkpoints keep their chat template.
#pragma once

#include <string>

#include "base/result.h"
#include "checkpoint/checkpoint.h"

namespace dunlin {

// The text of the checkpoint's chat template: chat_template.jinja, or the entry of
// tokenizer_config.json or GGUF header. Errors: there is none, or it cannot be read; a tokenizer_config.json beyond the
// limits of base/json_document.h.
Result<std::string> chat_template_source(const Checkpoint& checkpoint);

}  // namespace dunlin
