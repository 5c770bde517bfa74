// Attention of rows over places: the queries of a segment, and where its keys and values come from.
// n sequences, r rows of each, K kv heads, G query heads of a kv head, M = G r, c places, h width,
// w width of a row of the cache: h, or 2h where a value lies behind its key.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>

#include "backend/pjrt/stablehlo/builder.h"
#include "program/attributes.h"

namespace dunlin::pjrt {

struct Tile {
  Var keys, values;  // [n,K,c,w]: keys in the first h, values in the last
  Var positions;     // i32 [n,c], -1 where nothing is
};

// The places that a segment's rows may attend.
struct Places {
  int64_t count = 0;
  Var used;                  // i32: places from here on are empty
  bool by_position = false;  // place p holds position p
  std::function<Tile(const Var& start, int64_t size)> tile;
};

struct Queries {
  Var q;                          // [n,K,M,w]
  int64_t head = 0;               // h
  Var positions;                  // i32 [n,r]
  std::optional<Var> sinks = {};  // f32 [n,K,M]
};

// f32 [n,K,M,h].
Var attend(Builder& b, const AttentionAttributes& attributes, const Queries& queries,
           const Places& places);

}  // namespace dunlin::pjrt
