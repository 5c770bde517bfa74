// KvCache: pages, prefix hits, forks, windows and evictions, and that no page is ever lost or given
// twice.
#include "cache/kv_cache.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <numeric>
#include <random>
#include <set>

namespace dunlin {
namespace {

std::vector<int32_t> sequence_of(int64_t count, int32_t first = 0) {
  std::vector<int32_t> tokens(static_cast<size_t>(count));
  std::iota(tokens.begin(), tokens.end(), first);
  return tokens;
}

KvCacheOptions one_group(int64_t pages, int64_t window = 0) {
  return {.groups = {{.window = window, .pages = pages}}, .slots = 8, .context = 100000};
}

// Writes tokens as a prompt would.
void write(KvCache& cache, int32_t slot, std::span<const int32_t> tokens,
           RowClass row_class = RowClass::prompt) {
  ASSERT_TRUE(cache.reserve(slot, static_cast<int64_t>(tokens.size())).ok());
  cache.commit(slot, tokens, row_class);
}

std::vector<int32_t> pages_of(const KvCache& cache, int32_t slot, int32_t group = 0) {
  KvTable table;
  cache.table(std::span(&slot, 1), group, table);
  return table.pages;
}

std::vector<PageMove> moves_of(KvCache& cache) {
  std::vector<PageMove> moves;
  cache.take_moves(moves);
  return moves;
}

TEST(KvCache, ReservesAllOrNothing) {
  KvCache cache({.groups = {{.pages = 8}, {.pages = 2}}, .slots = 2, .context = 1000});
  const auto opened = cache.open({});
  ASSERT_TRUE(opened.ok());
  const auto refused = cache.reserve(opened->slot, 40);
  ASSERT_FALSE(refused.ok());
  EXPECT_EQ(refused.error().kind, ErrorKind::does_not_fit);
  EXPECT_EQ(cache.free_pages(0), 8);
  EXPECT_EQ(cache.free_pages(1), 2);
  EXPECT_TRUE(cache.reserve(opened->slot, 32).ok());
  EXPECT_EQ(cache.free_pages(0), 6);
  EXPECT_EQ(cache.free_pages(1), 0);
}

TEST(KvCache, ContextOverflowNamesBothNumbers) {
  KvCache cache({.groups = {{.pages = 8}}, .slots = 1, .context = 20});
  const auto opened = cache.open({});
  const auto refused = cache.reserve(opened->slot, 21);
  ASSERT_FALSE(refused.ok());
  EXPECT_EQ(refused.error().kind, ErrorKind::usage);
  EXPECT_EQ(refused.error().message, "21 tokens do not fit the context of 20");
}

TEST(KvCache, PrefixHitSharesFullPagesAndLeavesOneTokenToCompute) {
  KvCache cache(one_group(16));
  const auto prompt = sequence_of(64);
  const auto first = cache.open(prompt);
  EXPECT_EQ(first->cached, 0);
  write(cache, first->slot, prompt);
  const auto second = cache.open(prompt);
  EXPECT_EQ(second->cached, 48);  // not the page whose last token's logits are wanted
  EXPECT_EQ(pages_of(cache, second->slot)[2], pages_of(cache, first->slot)[2]);
  auto other = prompt;
  other[17] = 999;
  EXPECT_EQ(cache.open(other)->cached, 16);
}

TEST(KvCache, PagesOutliveTheirSequenceUntilTheSpaceIsNeeded) {
  KvCache cache(one_group(4));
  const auto prompt = sequence_of(64);
  const auto first = cache.open(prompt);
  write(cache, first->slot, prompt);
  cache.close(first->slot);
  EXPECT_EQ(cache.free_pages(0), 4);
  const auto again = cache.open(prompt);
  EXPECT_EQ(again->cached, 48);
  cache.close(again->slot);
  const auto other = cache.open(sequence_of(16, 5000));
  write(cache, other->slot, sequence_of(32, 5000));
  // Two pages were taken, the last of the first sequence before its first.
  EXPECT_EQ(cache.open(prompt)->cached, 32);
}

TEST(KvCache, GeneratedRowsAreNotIndexedUnlessTheirBitsAgree) {
  for (const bool same_bits : {false, true}) {
    KvCacheOptions options = one_group(16);
    options.generated_is_reproducible = same_bits;
    KvCache cache(options);
    const auto tokens = sequence_of(64);
    const auto first = cache.open(tokens);
    write(cache, first->slot, std::span(tokens).first(20));
    write(cache, first->slot, std::span(tokens).subspan(20, 20), RowClass::generated);
    write(cache, first->slot, std::span(tokens).subspan(40));
    // Rows after a generated one saw keys that a cold prefill would not make.
    EXPECT_EQ(cache.open(tokens)->cached, same_bits ? 48 : 16);
  }
}

TEST(KvCache, ForkCopiesThePartlyFilledPageOnlyWhenItIsWritten) {
  KvCache cache(one_group(16));
  const auto opened = cache.open({});
  write(cache, opened->slot, sequence_of(20));
  const auto fork = cache.fork(opened->slot);
  ASSERT_TRUE(fork.ok());
  EXPECT_EQ(pages_of(cache, *fork), pages_of(cache, opened->slot));
  EXPECT_EQ(cache.free_pages(0), 14);
  write(cache, *fork, sequence_of(1, 70));
  const auto moves = moves_of(cache);
  ASSERT_EQ(moves.size(), 1u);
  EXPECT_EQ(moves[0].from, pages_of(cache, opened->slot)[1]);
  EXPECT_EQ(moves[0].to, pages_of(cache, *fork)[1]);
  EXPECT_TRUE(moves_of(cache).empty());
  write(cache, opened->slot, sequence_of(1, 80));  // now alone on its page
  EXPECT_TRUE(moves_of(cache).empty());
  EXPECT_EQ(cache.tokens(*fork).back(), 70);
}

TEST(KvCache, WritingAfterTruncateForgetsTheIndexedPage) {
  KvCache cache(one_group(16));
  const auto tokens = sequence_of(48);
  const auto opened = cache.open(tokens);
  write(cache, opened->slot, tokens);
  ASSERT_TRUE(cache.truncate(opened->slot, 20).ok());
  write(cache, opened->slot, sequence_of(12, 900));
  EXPECT_EQ(cache.open(tokens)->cached, 16);  // the page of positions 16..31 holds other tokens now
}

TEST(KvCache, WindowFreesPagesBehindTheOldestRow) {
  KvCache cache(one_group(100, /*window=*/32));
  const auto opened = cache.open({});
  for (int step = 0; step < 300; ++step)
    write(cache, opened->slot, sequence_of(1, step), RowClass::generated);
  EXPECT_GE(cache.free_pages(0), 97);  // 32 positions touch at most three pages
  const auto pages = pages_of(cache, opened->slot);
  EXPECT_EQ(pages[10], -1);
  EXPECT_GE(pages.back(), 0);
  EXPECT_FALSE(cache.truncate(opened->slot, 100).ok());
  EXPECT_EQ(cache.length(opened->slot), 300);
  EXPECT_TRUE(cache.truncate(opened->slot, 299).ok());
}

TEST(KvCache, PrefixHitNeedsTheWindowOfEveryGroup) {
  KvCacheOptions options = {
      .groups = {{.pages = 100}, {.window = 16, .pages = 100}}, .slots = 4, .context = 10000};
  KvCache cache(options);
  const auto tokens = sequence_of(160);
  const auto opened = cache.open(tokens);
  write(cache, opened->slot, std::span(tokens).first(64));
  write(cache, opened->slot,
        std::span(tokens).subspan(64));  // frees the windowed pages before position 49
  cache.close(opened->slot);
  const auto hit = cache.open(tokens);
  EXPECT_EQ(hit->cached, 144);
  EXPECT_EQ(pages_of(cache, hit->slot, 1)[0], -1);
}

TEST(KvCache, EvictRefusesSinksAndRecentTokens) {
  KvCache cache(one_group(32));
  const auto opened = cache.open({});
  write(cache, opened->slot, sequence_of(200));
  EXPECT_FALSE(cache.evict(opened->slot, 0, 0).ok());
  EXPECT_FALSE(cache.evict(opened->slot, 0, 9).ok());
  EXPECT_FALSE(cache.evict(opened->slot, 0, 400).ok());
  EXPECT_TRUE(cache.evict(opened->slot, 0, 3).ok());
  EXPECT_EQ(pages_of(cache, opened->slot)[3], -1);
}

TEST(KvCache, NoFreeSlotIsAnError) {
  KvCache cache({.groups = {{.pages = 4}}, .slots = 1, .context = 100});
  ASSERT_TRUE(cache.open({}).ok());
  const auto refused = cache.open({});
  ASSERT_FALSE(refused.ok());
  EXPECT_EQ(refused.error().message, "all 1 sequence slots are in use");
}

// A random history against a model of what each sequence must hold: pages of live sequences with
// different content never coincide, and closing everything gives every page back.
TEST(KvCache, RandomHistoryKeepsPagesApart) {
  std::mt19937 random(7);
  KvCacheOptions options = one_group(64);
  KvCache cache(options);
  std::vector<int32_t> open;
  for (int step = 0; step < 5000; ++step) {
    const uint32_t choice = random() % 8;
    if (choice == 0 || open.empty()) {
      const auto opened = cache.open(
          sequence_of(static_cast<int64_t>(random() % 100), static_cast<int32_t>(random() % 2)));
      if (opened.ok()) open.push_back(opened->slot);
    } else if (choice == 1) {
      const auto fork = cache.fork(open[random() % open.size()]);
      if (fork.ok()) open.push_back(*fork);
    } else if (choice == 2) {
      const size_t at = random() % open.size();
      cache.close(open[at]);
      open.erase(open.begin() + static_cast<std::ptrdiff_t>(at));
    } else if (choice == 3) {
      const int32_t slot = open[random() % open.size()];
      ASSERT_TRUE(cache.truncate(slot, cache.length(slot) / 2).ok());
    } else {
      const int32_t slot = open[random() % open.size()];
      const auto rows = static_cast<int64_t>(random() % 20 + 1);
      if (cache.reserve(slot, rows).ok()) {
        cache.commit(slot, sequence_of(rows, static_cast<int32_t>(cache.length(slot))),
                     random() % 4 == 0 ? RowClass::generated : RowClass::prompt);
      }
    }
    moves_of(cache);
    // Two sequences on the same physical page agree on every token up to the page's end.
    std::vector<std::pair<int32_t, std::vector<int32_t>>> seen;
    for (const int32_t slot : open) {
      const auto pages = pages_of(cache, slot);
      const auto tokens = cache.tokens(slot);
      for (size_t page = 0; page < pages.size(); ++page) {
        const size_t end = std::min(tokens.size(), (page + 1) * kPageTokens);
        const std::vector<int32_t> prefix(tokens.begin(),
                                          tokens.begin() + static_cast<std::ptrdiff_t>(end));
        for (const auto& [physical, other] : seen) {
          if (physical != pages[page]) continue;
          const size_t common = std::min(prefix.size(), other.size());
          ASSERT_TRUE(std::equal(
              prefix.begin(), prefix.begin() + static_cast<std::ptrdiff_t>(common), other.begin()));
        }
        seen.emplace_back(pages[page], prefix);
      }
    }
  }
  for (const int32_t slot : open) cache.close(slot);
  EXPECT_EQ(cache.free_pages(0), 64);
}

// Groups whose slots have pages of their own: one that keeps everything, one with a window of 20.
KvCacheOptions slots_of_their_own() {
  return {.groups = {{.pages = 24, .pages_per_slot = 8},
                     {.window = 20, .pages = 12, .pages_per_slot = 4}},
          .slots = 3,
          .context = 128};
}

TEST(KvCacheSlots, PagesAreTheSlotsOwnAndAWindowIsARing) {
  KvCache cache(slots_of_their_own());
  ASSERT_TRUE(cache.open({}).ok());
  const int32_t slot = cache.open({})->slot;
  EXPECT_EQ(slot, 1);
  write(cache, slot, sequence_of(40));
  EXPECT_EQ(pages_of(cache, slot), (std::vector<int32_t>{8, 9, 10}));
  EXPECT_EQ(pages_of(cache, slot, 1), (std::vector<int32_t>{4, 5, 6}));
  write(cache, slot, sequence_of(40));
  // Positions from 61 on are visible to row 80: page 3 is kept, page 4 lies where page 0 was.
  ASSERT_TRUE(cache.reserve(slot, 1).ok());
  EXPECT_EQ(pages_of(cache, slot), (std::vector<int32_t>{8, 9, 10, 11, 12, 13}));
  EXPECT_EQ(pages_of(cache, slot, 1), (std::vector<int32_t>{-1, -1, -1, 7, 4, 5}));
  EXPECT_EQ(cache.free_pages(0), 24 - 6);
  EXPECT_EQ(cache.free_pages(1), 12 - 3);
  cache.close(slot);
  EXPECT_EQ(cache.free_pages(0), 24);
}

TEST(KvCacheSlots, ARingThatIsTooSmallIsAnErrorAndNothingIsTaken) {
  KvCache cache(slots_of_their_own());
  const int32_t slot = cache.open({})->slot;
  const auto refused = cache.reserve(slot, 80);
  ASSERT_FALSE(refused.ok());
  EXPECT_EQ(refused.error().kind, ErrorKind::does_not_fit);
  EXPECT_EQ(cache.free_pages(0), 24);
}

TEST(KvCacheSlots, NothingIsSharedAndAForkCopies) {
  KvCache cache(slots_of_their_own());
  const std::vector<int32_t> tokens = sequence_of(20);
  const int32_t first = cache.open(tokens)->slot;
  write(cache, first, tokens);
  EXPECT_EQ(cache.open(tokens)->cached, 0);
  const auto fork = cache.fork(first);
  ASSERT_TRUE(fork.ok());
  EXPECT_EQ(pages_of(cache, *fork), (std::vector<int32_t>{16, 17}));
  const std::vector<PageMove> moves = moves_of(cache);
  ASSERT_EQ(moves.size(), 4u);
  EXPECT_EQ(moves[0].from, 0);
  EXPECT_EQ(moves[0].to, 16);
  EXPECT_EQ(moves[3].group, 1);
  EXPECT_EQ(moves[3].to, 9);
}

TEST(KvCacheSlots, TruncationGivesPagesBack) {
  KvCache cache(slots_of_their_own());
  const int32_t slot = cache.open({})->slot;
  write(cache, slot, sequence_of(50));
  ASSERT_TRUE(cache.truncate(slot, 33).ok());
  EXPECT_EQ(pages_of(cache, slot), (std::vector<int32_t>{0, 1, 2}));
  write(cache, slot, sequence_of(20));
  EXPECT_EQ(pages_of(cache, slot), (std::vector<int32_t>{0, 1, 2, 3}));
}

}  // namespace
}  // namespace dunlin
