// BytePairMerger: both methods against the definition, on random merges.
#include "tokenizer/byte_pair_merger.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <random>

namespace dunlin {
namespace {

// Three single-letter tokens and the results of random merges.
struct RandomMerges {
  Vocabulary vocabulary;
  MergeList merges;
  std::vector<std::string> tokens = {"a", "b", "c"};           // by id
  std::map<std::pair<std::string, std::string>, size_t> rank;  // of a pair

  explicit RandomMerges(std::mt19937& random) {
    while (tokens.size() < 60) {
      const std::string left = tokens[random() % tokens.size()];
      const std::string right = tokens[random() % tokens.size()];
      if (left.size() + right.size() > 12) continue;
      if (std::find(tokens.begin(), tokens.end(), left + right) == tokens.end())
        tokens.push_back(left + right);
      if (!rank.emplace(std::pair(left, right), merges.size()).second) continue;
      EXPECT_TRUE(merges.add(left, right).ok());
    }
    for (size_t id = 0; id < tokens.size(); ++id) {
      EXPECT_TRUE(vocabulary.add(static_cast<int64_t>(id), tokens[id], true).ok());
    }
    EXPECT_TRUE(vocabulary.build_index().ok());
  }

  // The definition: replace the leftmost of the pairs with the lowest rank until there is none.
  std::vector<std::string> merge(std::string_view text) const {
    std::vector<std::string> parts;
    for (const char letter : text) parts.emplace_back(1, letter);
    while (true) {
      size_t best = parts.size();
      size_t best_rank = SIZE_MAX;
      for (size_t i = 0; i + 1 < parts.size(); ++i) {
        const auto it = rank.find({parts[i], parts[i + 1]});
        if (it == rank.end() || it->second >= best_rank) continue;
        best = i;
        best_rank = it->second;
      }
      if (best == parts.size()) return parts;
      parts[best] += parts[best + 1];
      parts.erase(parts.begin() + static_cast<std::ptrdiff_t>(best) + 1);
    }
  }
};

TEST(BytePairMerger, FollowsTheDefinitionForShortAndLongPieces) {
  std::mt19937 random(7);
  for (int round = 0; round < 40; ++round) {
    const RandomMerges model(random);
    BytePairMerger merger;
    ASSERT_TRUE(
        merger.build(model.vocabulary, model.merges, std::vector<bool>(model.tokens.size())).ok());
    BytePairMerger::Workspace workspace;
    for (const size_t length : {0, 1, 2, 3, 10, 50, 95, 96, 97, 98, 200, 400}) {
      std::string text;
      for (size_t i = 0; i < length; ++i) text.push_back(static_cast<char>('a' + random() % 3));
      std::vector<int32_t> ids;
      merger.encode(text, workspace, ids);
      std::vector<std::string> parts;
      for (const int32_t id : ids) parts.push_back(model.tokens[static_cast<size_t>(id)]);
      EXPECT_EQ(parts, model.merge(text)) << text;
    }
  }
}

TEST(BytePairMerger, BytesWithoutTokenVanishAndTheirNeighboursMeet) {
  Vocabulary vocabulary;
  ASSERT_TRUE(vocabulary.add(0, "a", true).ok());
  ASSERT_TRUE(vocabulary.add(1, "b", true).ok());
  ASSERT_TRUE(vocabulary.add(2, "ab", true).ok());
  ASSERT_TRUE(vocabulary.build_index().ok());
  MergeList merges;
  ASSERT_TRUE(merges.add("a", "b").ok());
  BytePairMerger merger;
  ASSERT_TRUE(merger.build(vocabulary, merges, std::vector<bool>(3)).ok());
  BytePairMerger::Workspace workspace;
  for (const size_t count : {1, 100}) {  // the scan and the heap
    std::vector<int32_t> ids;
    std::string text;
    for (size_t i = 0; i < count; ++i) text += "xaxb";
    merger.encode(text, workspace, ids);
    EXPECT_EQ(ids, std::vector<int32_t>(count, 2));
    ids.clear();
    merger.encode(std::string(count, 'x'), workspace, ids);
    EXPECT_TRUE(ids.empty());
  }
}

}  // namespace
}  // namespace dunlin
