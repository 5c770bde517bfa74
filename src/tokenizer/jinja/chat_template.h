// ChatTemplate: renders a conversation with a model's own template, in a sandboxed subset of Jinja2
// that gives byte for byte what transformers' apply_chat_template gives (its environment:
// trim_blocks, lstrip_blocks, break and continue).
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "base/result.h"
#include "tokenizer/text_span.h"

namespace dunlin {

struct ChatInputs;  // chat_inputs.h

class ChatTemplate {
 public:
  // `name` is what errors call the template, e.g. the file it comes from. Errors (kind model): a
  // template beyond 1 MiB, a syntax error, a tag that Jinja has and this subset does not (include,
  // import, extends, block), nesting beyond 64.
  static Result<ChatTemplate> parse(std::string source, std::string name);

  // The text with the origin of every byte: spans from the template allow special tokens, spans
  // from the inputs do not, and neighbours differ in that. Errors (kind usage) name the template,
  // line and column (NAME:LINE:COLUMN: ...) and what was wrong; a template's raise_exception and a breach of the limits
  // (jinja/limits.h) are among them. Safe from several threads at once.
  Result<std::vector<TextSpan>> render(const ChatInputs& inputs) const;

  const std::string& source() const;

 private:
  struct Parsed;
  explicit ChatTemplate(std::shared_ptr<const Parsed> parsed) : parsed_(std::move(parsed)) {}
  std::shared_ptr<const Parsed> parsed_;
};

// All spans' text in one string.
std::string join_spans(const std::vector<TextSpan>& spans);

}  // namespace dunlin
