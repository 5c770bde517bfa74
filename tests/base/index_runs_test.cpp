// IndexRuns: runs that go on with each other are one.
#include "base/index_runs.h"

#include <gtest/gtest.h>

#include <vector>

namespace dunlin {
namespace {

TEST(IndexRuns, ARunIsAppendedToTheOneItGoesOnWith) {
  std::vector<IndexRun> runs;
  append_run(runs, {0, 10, 2});
  append_run(runs, {2, 12, 3});  // goes on on both sides
  EXPECT_EQ(runs, (std::vector<IndexRun>{{0, 10, 5}}));
  append_run(runs, {5, 16, 1});  // a hole in the whole
  append_run(runs, {7, 17, 1});  // one in the part
  append_run(runs, {8, 18, 2});
  EXPECT_EQ(runs, (std::vector<IndexRun>{{0, 10, 5}, {5, 16, 1}, {7, 17, 3}}));
}

TEST(IndexRuns, OnlyTheWholeDimensionIsAllOfIt) {
  EXPECT_TRUE(IndexRuns::all(4).is_all_of(4));
  EXPECT_FALSE(IndexRuns::all(4).is_all_of(5));
  const IndexRuns part{.extent = 6, .runs = {{0, 1, 2}, {4, 5, 2}}};
  EXPECT_EQ(part.count(), 4);
  EXPECT_FALSE(part.is_all_of(6));
}

}  // namespace
}  // namespace dunlin
