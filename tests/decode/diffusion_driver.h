// Runs a DiffusionDecoder to its end against a network that is a table.
#pragma once

#include <gtest/gtest.h>

#include <cstdint>
#include <functional>
#include <utility>
#include <vector>

#include "decode/diffusion.h"
#include "logit_rows.h"

namespace dunlin {

inline constexpr int32_t kMask = 15;
inline constexpr int32_t kVocabulary = 16;
using Ids = std::vector<int32_t>;

// The logits with which a network predicts the token of a position.
using Network = std::function<std::vector<float>(int64_t position)>;

// Position p is token p mod 10, the surer the further right it stands.
inline std::vector<float> right_is_surer(int64_t position) {
  std::vector<float> logits(kVocabulary, 0.0f);
  logits[static_cast<size_t>(position % 10)] = 3.0f + 0.1f * static_cast<float>(position);
  return logits;
}

struct Trace {
  std::vector<DiffusionPass> passes;
  std::vector<Ids> canvases;  // after each pass
};

// Runs the decoder to its end. With a shift the row before a position predicts it.
inline Trace run(DiffusionDecoder& decoder, const Network& network, bool shift = true) {
  Trace trace;
  while (const DiffusionPass* const pass = decoder.pending()) {
    std::vector<LogitRow> rows;
    for (const int32_t row : pass->logit_rows) {
      EXPECT_GE(row, 0);
      EXPECT_LT(row, pass->rows);
      rows.emplace_back(network(pass->first + row + (shift ? 1 : 0)));
    }
    std::vector<LogitsView> views;
    for (const LogitRow& row : rows) views.push_back(row.view());
    trace.passes.push_back(*pass);
    const auto accepted = decoder.accept(views);
    EXPECT_TRUE(accepted.ok());
    trace.canvases.emplace_back(decoder.canvas().begin(), decoder.canvas().end());
    if (trace.passes.size() > 1000) {
      ADD_FAILURE() << "no end";
      break;
    }
  }
  return trace;
}

inline DiffusionDecoder decoder_of(Ids prompt, DiffusionParams params, bool shift = true) {
  auto decoder = DiffusionDecoder::create(std::move(prompt), kMask, shift, std::move(params));
  EXPECT_TRUE(decoder.ok()) << decoder.error().message;
  return std::move(decoder).value();
}

inline DiffusionParams schedule(int64_t tokens, int64_t steps) {
  return {.max_tokens = tokens, .steps = steps};
}

inline Ids decided(const DiffusionDecoder& decoder) {
  return {decoder.decided().begin(), decoder.decided().end()};
}

// Right half sure, left half not.
inline std::vector<float> half_sure(int64_t position) {
  std::vector<float> logits(kVocabulary, 0.0f);
  logits[static_cast<size_t>(position % 10)] = position > 4 ? 9.0f : 1.0f;
  return logits;
}

inline DiffusionParams threshold(int64_t tokens, int64_t steps, DiffusionCache cache,
                                 int64_t block_length = 32) {
  return {.max_tokens = tokens,
          .steps = steps,
          .algorithm = DiffusionAlgorithm::confidence_threshold,
          .cache = cache,
          .block_length = block_length};
}

}  // namespace dunlin
