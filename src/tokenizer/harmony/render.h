// Harmony conversations as text, byte for byte as openai-harmony 0.0.8 writes them.
#pragma once

#include <vector>

#include "tokenizer/harmony/message.h"
#include "tokenizer/text_span.h"

namespace dunlin::harmony {

struct RenderOptions {
  // Leaves out what the assistant thought (channel analysis) before its last final answer: the model
  // was trained not to see it again. Thoughts that no answer followed yet stay, as those between a
  // call of a tool and its result. transformers' template of GPT-OSS does the same; openai-harmony's
  // auto_drop_analysis leaves out only what precedes the first final answer, and nothing while the
  // last message is not one.
  bool drop_analysis = true;
  // Ends with <|start|>assistant, from which the model goes on.
  bool generation_prompt = true;
};

// Every message ends with <|end|>, an answer too, or with <|call|>. Only the marks of marks.h are
// spans that allow special tokens: no text of a message, name or tool becomes one. Neighbouring
// spans differ in that.
std::vector<TextSpan> render(const Conversation& conversation, const RenderOptions& options = {});

}  // namespace dunlin::harmony
