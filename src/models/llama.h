// The Llama block and its relatives.
#pragma once

#include "base/metadata.h"
#include "base/result.h"
#include "program/recorder.h"

namespace dunlin {

// Llama 3, 3.1, 3.2, 3.3, SmolLM2, DeepSeek-R1-Distill-Llama (model_type "llama").
Result<Program> record_llama(const Metadata& config, const RecordOptions& options);

// Qwen2, Qwen2.5, DeepSeek-R1-Distill-Qwen (model_type "qwen2"): the same block with biases on q, k
// and v.
Result<Program> record_qwen2(const Metadata& config, const RecordOptions& options);

// Qwen2's network under another mask, as the Program `name`.
Result<Program> record_qwen2_block(const char* name, const Metadata& config, MaskKind mask,
                                   const RecordOptions& options);

}  // namespace dunlin
