// Configurations, formats by name, and pages by count.
#include "tiny_model.h"

#include <gtest/gtest.h>

#include <algorithm>

#include "case_runner.h"
#include "models/gpt_oss.h"
#include "models/llama.h"

namespace dunlin {
namespace {

constexpr int64_t kVocabulary = 300;  // no multiple of 16
constexpr int32_t kPages = 400;

Metadata tiny_config(bool tied) {
  Metadata config("tiny");
  config.set("hidden_size", int64_t{256});
  config.set("num_hidden_layers", int64_t{2});
  config.set("num_attention_heads", int64_t{8});
  config.set("num_key_value_heads", int64_t{2});
  config.set("head_dim", int64_t{32});
  config.set("intermediate_size", int64_t{512});
  config.set("vocab_size", kVocabulary);
  config.set("rms_norm_eps", 1e-5);
  config.set("rope_theta", 10000.0);
  config.set("max_position_embeddings", int64_t{4096});
  config.set("tie_word_embeddings", tied);
  return config;
}

Metadata tiny_mixture_config() {
  Metadata config = tiny_config(false);
  config.set("intermediate_size", int64_t{256});
  config.set("num_local_experts", int64_t{6});
  config.set("num_experts_per_tok", int64_t{4});
  config.set("sliding_window", int64_t{24});
  return config;
}

bool ends_with_one_of(const std::string& name, const std::vector<std::string>& endings) {
  return std::ranges::any_of(endings, [&](const auto& end) { return name.ends_with(end); });
}

WeightSource mixed_weights(const Program& program) {
  const WeightSource q4_k = case_weights(program, Format::q4_k);
  const WeightSource q6_k = case_weights(program, Format::q6_k);
  return [q4_k, q6_k](const std::string& name) {
    const bool better = ends_with_one_of(
        name, {"v_proj.weight", "down_proj.weight", "lm_head.weight", "embed_tokens.weight"});
    return better ? q6_k(name) : q4_k(name);
  };
}

}  // namespace

TinyModel tiny_model(const std::string& family, const std::string& format,
                     const RecordOptions& options) {
  Result<Program> program = family == "llama"   ? record_llama(tiny_config(true), options)
                            : family == "qwen2" ? record_qwen2(tiny_config(false), options)
                                                : record_gpt_oss(tiny_mixture_config(), options);
  TinyModel model;
  model.program = std::move(program).value();
  model.weights = format == "mixed" ? mixed_weights(model.program)
                                    : case_weights(model.program, *parse_format(format));
  return model;
}

int32_t tiny_token(int64_t sequence, int64_t i) {
  return static_cast<int32_t>((sequence * 7919 + i * 104729 + i * i * 31) % kVocabulary);
}

CompileOptions tiny_options(Precision precision, int threads, const std::string& isa) {
  CompileOptions options;
  options.precision = precision;
  options.limits = {.rows = 512, .logit_rows = 512, .sequences = 8, .context = 1024};
  options.threads = threads;
  options.isa = isa;
  return options;
}

TinySession::TinySession(Backend& backend, const TinyModel& model, const CompileOptions& options)
    : program_(model.program), limits_(options.limits), free_pages_(kPages) {
  Result<std::unique_ptr<Executable>> executable =
      backend.compile(model.program, model.weights, options);
  executable_ = std::move(executable).value();
  state_ =
      executable_->make_kv_state(std::vector<int64_t>(program_.kv_groups.size(), kPages)).value();
}

StepPlan TinySession::plan(const std::vector<Chunk>& chunks) {
  StepPlan plan;
  KvTable table;
  table.first.push_back(0);
  for (const Chunk& chunk : chunks) {
    plan.segments.push_back({1, chunk.rows, chunk.row_class});
    int32_t& length = lengths_[chunk.sequence];
    std::vector<int32_t>& pages = pages_of_[chunk.sequence];
    for (int32_t i = 0; i < chunk.rows; ++i) {
      plan.logit_rows.push_back(static_cast<int32_t>(plan.rows()));
      plan.tokens.push_back(tiny_token(chunk.sequence, length));
      plan.positions.push_back(length);
      if (length / kPageTokens == static_cast<int32_t>(pages.size())) {
        pages.push_back(--free_pages_);
      }
      ++length;
    }
    table.pages.insert(table.pages.end(), pages.begin(), pages.end());
    table.first.push_back(static_cast<int32_t>(table.pages.size()));
  }
  plan.tables.assign(program_.kv_groups.size(), table);
  return plan;
}

std::vector<std::vector<float>> TinySession::step(const std::vector<Chunk>& chunks) {
  const StepPlan plan = this->plan(chunks);
  const Result<void> valid = validate(plan, program_, limits_, *state_);
  EXPECT_TRUE(valid.ok()) << valid.error().message;
  executable_->run(plan, *state_, output_);
  std::vector<std::vector<float>> logits;
  for (const LogitsView& view : output_.logits) {
    logits.emplace_back(view.row.begin(), view.row.end());
  }
  return logits;
}

std::vector<std::vector<float>> prompt_and_decode(TinySession& session, int64_t sequence,
                                                  int32_t prompt, int32_t chunk, int32_t decodes) {
  std::vector<std::vector<float>> logits;
  for (int32_t row = 0; row < prompt; row += chunk) {
    const int32_t rows = std::min(chunk, prompt - row);
    const auto of_rows = session.step({{sequence, rows, RowClass::prompt}});
    if (row + rows == prompt) logits.push_back(of_rows.back());
  }
  for (int32_t i = 0; i < decodes; ++i) {
    logits.push_back(session.step({{sequence, 1, RowClass::generated}}).back());
  }
  return logits;
}

}  // namespace dunlin
