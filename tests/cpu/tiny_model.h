// Small Llama, Qwen2 and GPT-OSS models with random weights, and a driver that feeds them steps.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "backend/api.h"
#include "program/recorder.h"

namespace dunlin {

struct TinyModel {
  Program program;
  WeightSource weights;
};

// `family` is "llama" (tied embedding), "qwen2" (biases, a head of its own) or "gpt_oss" (experts,
// sinks, and a window of 24 in the first of its layers). `format` "mixed" is
// Q4_K with Q6_K for v_proj, down_proj and the head.
TinyModel tiny_model(const std::string& family, const std::string& format,
                     const RecordOptions& options = {});

// Token number i of a pseudo-random text.
int32_t tiny_token(int64_t sequence, int64_t i);

// Rows of one sequence in a step: the next `rows` tokens of its text.
struct Chunk {
  int64_t sequence = 0;
  int32_t rows = 1;
  RowClass row_class = RowClass::prompt;
};

// An executable with a cache for eight sequences; physical pages are handed out from the highest, the
// same in every KV group.
class TinySession {
 public:
  TinySession(Backend& backend, const TinyModel& model, const CompileOptions& options);

  // The plan of one step, with the logits of every row; reserves the pages.
  StepPlan plan(const std::vector<Chunk>& chunks);
  // plan(), validate() and run(). The logits of each row, in the order of the chunks' rows.
  std::vector<std::vector<float>> step(const std::vector<Chunk>& chunks);

  Executable& executable() { return *executable_; }
  KvState& state() { return *state_; }
  const StepOutput& output() const { return output_; }

 private:
  Program program_;
  StepLimits limits_;
  std::unique_ptr<Executable> executable_;
  std::unique_ptr<KvState> state_;
  StepOutput output_;
  std::map<int64_t, int32_t> lengths_;                // by sequence
  std::map<int64_t, std::vector<int32_t>> pages_of_;  // by sequence
  int32_t free_pages_;
};

// Limits that TinySession and its options agree on.
CompileOptions tiny_options(Precision precision, int threads = 1, const std::string& isa = "");

// Logits of the last rows of a prompt of `prompt` tokens, given in chunks of `chunk`, and of
// `decodes` generated tokens behind it.
std::vector<std::vector<float>> prompt_and_decode(TinySession& session, int64_t sequence,
                                                  int32_t prompt, int32_t chunk, int32_t decodes);

}  // namespace dunlin
