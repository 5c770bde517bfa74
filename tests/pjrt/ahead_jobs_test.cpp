// Programs compiled ahead of time, several at once.
#include "backend/pjrt/ahead_jobs.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <map>
#include <string>
#include <vector>

namespace dunlin::pjrt {
namespace {

using testing::ElementsAre;

std::vector<AheadJob> numbered_jobs(int count) {
  std::vector<AheadJob> jobs;
  for (int i = 0; i < count; ++i) {
    const std::string name = std::to_string(i);
    jobs.push_back({"job " + name, [name] { return name; }});
  }
  return jobs;
}

TEST(AheadJobs, EveryJobIsDoneOnceOnAnyNumberOfThreads) {
  for (const int threads : {-1, 1, 3, 100}) {
    std::atomic<int> compiled = 0;
    double last = 0;
    std::map<std::string, int> told;
    const auto programs = run_jobs(
        numbered_jobs(20), threads,
        [&](double fraction, const std::string& what) {
          EXPECT_GE(fraction, last);
          last = fraction;
          ++told[what];
        },
        [&compiled](const std::string& text) -> Result<AheadProgram> {
          ++compiled;
          return AheadProgram{.bytes = AheadBytes{.arguments = std::stoll(text)}};
        });
    ASSERT_TRUE(programs.ok());
    EXPECT_EQ(compiled.load(), 20);
    EXPECT_EQ(last, 1.0);
    EXPECT_EQ(told.size(), 20u);
    ASSERT_EQ(programs->size(), 20u);
    for (size_t i = 0; i < programs->size(); ++i) {
      EXPECT_EQ((*programs)[i].name, "job " + std::to_string(i));
      EXPECT_EQ((*programs)[i].bytes->arguments, static_cast<int64_t>(i));
      EXPECT_GE((*programs)[i].seconds, 0.0);
    }
  }
}

TEST(AheadJobs, AfterAnErrorNothingMoreIsBegun) {
  std::atomic<int> compiled = 0;
  const auto programs = run_jobs(numbered_jobs(20), 1, {},
                                 [&compiled](const std::string& text) -> Result<AheadProgram> {
                                   ++compiled;
                                   if (text == "3") return Error{ErrorKind::device, "no"};
                                   return AheadProgram{};
                                 });
  ASSERT_FALSE(programs.ok());
  EXPECT_EQ(programs.error().kind, ErrorKind::device);
  EXPECT_EQ(programs.error().message, "job 3: no");
  EXPECT_EQ(compiled.load(), 4);
  EXPECT_TRUE(run_jobs({}, 4, {}, {})->empty());
}

TEST(AheadJobs, SomeByTheirNames) {
  const auto names = [](const std::vector<std::string>& patterns) {
    const auto jobs = named_jobs(numbered_jobs(12), patterns);
    EXPECT_TRUE(jobs.ok()) << jobs.error().message;
    std::vector<std::string> all;
    for (const AheadJob& job : *jobs) all.push_back(job.name);
    return all;
  };
  EXPECT_EQ(names({}).size(), 12u);
  EXPECT_THAT(names({"job 3"}), ElementsAre("job 3"));
  EXPECT_THAT(names({"job 1?", "*0"}), ElementsAre("job 0", "job 10", "job 11"));
  const auto none = named_jobs(numbered_jobs(2), {"job 1", "job 12"});
  ASSERT_FALSE(none.ok());
  EXPECT_EQ(none.error().kind, ErrorKind::usage);
  EXPECT_EQ(none.error().message,
            "--only job 12: no program has such a name; there are \"job 0\", \"job 1\"");
}

}  // namespace
}  // namespace dunlin::pjrt
