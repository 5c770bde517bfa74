// A model without arithmetic: what a row computes is a hash of all that it sees through the page
// tables (token, position and row class of every visible position, of each KV group), and the logits
// are made from it. So the ids of an answer tell whether one wrong position was visible, came from
// another page or was computed in another class, which no tiny real model would show.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "engine/model.h"

namespace dunlin {

struct HashModelOptions {
  StepLimits limits = {.rows = 64, .logit_rows = 4, .sequences = 4, .context = 128};
  int64_t kv_tokens = 0;
  std::vector<int64_t> windows = {0};  // of the KV groups
  Precision precision = Precision::automatic;
};

inline constexpr int32_t kHashVocabulary = 64;
// Rows that see this token have logits that are not numbers.
inline constexpr int32_t kPoison = 63;

std::unique_ptr<Model> make_hash_model(const HashModelOptions& options = {});

// Rows of each class that the model has run.
struct HashModelCounts {
  int64_t prompt = 0;
  int64_t generated = 0;
};
HashModelCounts hash_model_counts(const Model& model);

}  // namespace dunlin
