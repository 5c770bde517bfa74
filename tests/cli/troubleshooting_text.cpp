// Messages about tokenizers and chat templates.
#include <filesystem>

#include "checkpoint/tiny_model.h"
#include "support/text_model_folder.h"
#include "troubleshooting.h"

namespace dunlin {
namespace {

ProcessResult run_with_template(const TemporaryFolder& folder, const std::string& text) {
  write_all(text_model(folder) + "/chat_template.jinja", text);
  return run_hello(folder.path());
}

// A GGUF file whose tokenizer is split by rules of that name.
ProcessResult run_with_pre(const TemporaryFolder& folder, const std::string& pre) {
  GgufBuilder builder = tiny_gguf();
  std::string tokens;
  for (char letter = 'a'; letter < 'a' + kVocabulary; ++letter)
    tokens += raw_string(std::string(1, letter));
  builder.text("tokenizer.ggml.model", "gpt2").text("tokenizer.ggml.pre", pre);
  builder.array("tokenizer.ggml.tokens", kString, static_cast<uint64_t>(kVocabulary), tokens);
  builder.array("tokenizer.ggml.merges", kString, 1, raw_string("a b"));
  write_all(folder.file("tiny.gguf"), builder.build());
  return run_hello(folder.file("tiny.gguf"));
}

}  // namespace

std::vector<MessageCase> text_messages() {
  using Folder = const TemporaryFolder&;
  return {
      {"error: text needs a tokenizer; --prompt-ids works without: <folder>: no tokenizer.json",
       [](Folder folder) {
         std::filesystem::remove(text_model(folder) + "/tokenizer.json");
         return run_hello(folder.path());
       }},
      {"error: text needs a tokenizer; --prompt-ids works without: <file>: tokenizer_class is "
       "\"<name>\"; without a tokenizer.json only <names> are supported",
       [](Folder folder) {
         write_vocabulary_files(text_model(folder), "GPT2Tokenizer");
         return run_hello(folder.path());
       }},
      {"error: text needs a tokenizer; --prompt-ids works without: <file>: model.type is "
       "\"<name>\"; only \"BPE\" is supported",
       [](Folder folder) {
         write_all(text_model(folder) + "/tokenizer.json",
                   R"({"model": {"type": "Unigram", "vocab": [["a", -1.0]]}})");
         return run_hello(folder.path());
       }},
      {"error: text needs a tokenizer; --prompt-ids works without: <file>: tokenizer.ggml.pre is "
       "\"<name>\", not one of the supported <names>",
       [](Folder folder) { return run_with_pre(folder, "poro-chat"); }},
      {"error: the model has no usable chat template; run --raw sends the text as it is: <file>: "
       "no "
       "chat_template",
       [](Folder folder) {
         write_all(text_model(folder) + "/tokenizer_config.json", R"({"eos_token": "<|im_end|>"})");
         return run_hello(folder.path());
       }},
      {"error: the model has no usable chat template; run --raw sends the text as it is: "
       "chat_template:<line>:<column>: <problem>",
       [](Folder folder) { return run_with_template(folder, "{% include 'other.jinja' %}"); }},
      {"error: chat_template:<line>:<column>: <problem>",
       [](Folder folder) {
         return run_with_template(folder, "{{ raise_exception('roles must alternate') }}");
       }},
  };
}

}  // namespace dunlin
