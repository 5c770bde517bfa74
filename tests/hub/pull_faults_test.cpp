// A disk that fails in any call while a model is pulled: an error that names the place, nothing that is
// half made, and the next run goes on.
#include <cstdint>
#include <filesystem>
#include <iterator>
#include <span>
#include <string>
#include <system_error>

#include "hub/checksum.h"
#include "hub_fixture.h"
#include "support/faulty_disk.h"

namespace dunlin {
namespace {

namespace fs = std::filesystem;
using testing::HasSubstr;

class PullFaults : public HubTest {
 protected:
  Result<std::string> pull_with(const DiskFaults& faults) {
    const FaultyDisk disk(faults);
    return pull(request());
  }

  // Calls of the disk of a whole download.
  int64_t calls() {
    const FaultyDisk disk;
    EXPECT_TRUE(pull(request()).ok());
    const int64_t count = disk.calls();
    fs::remove_all(cache_);
    return count;
  }

  // A blob is what its name says; a revision that has its configuration, or a name, has all of its files.
  void expect_absent_or_whole() const {
    const HfCache cache(cache_, StandInHub::kRepo);
    std::error_code none;
    for (const auto& entry : fs::directory_iterator(cache.folder() + "/blobs", none)) {
      const std::string name = entry.path().filename().string();
      if (name.ends_with(".incomplete")) continue;
      const std::string bytes = content_of(entry.path().string());
      auto checksum = Checksum::create(checksum_kind(name).value(), bytes.size()).value();
      checksum.update(std::as_bytes(std::span(bytes)));
      EXPECT_EQ(checksum.finish(), name);
    }
    const std::string snapshot = cache.snapshot(StandInHub::kCommit);
    const std::string ref = cache.folder() + "/refs/main";
    if (fs::exists(snapshot + "/config.json")) expect_whole_model(snapshot);
    if (!fs::exists(ref)) return;
    EXPECT_EQ(content_of(ref), StandInHub::kCommit);
    expect_whole_model(snapshot);
  }

  void expect_error(const Result<std::string>& pulled, const char* problem) const {
    ASSERT_FALSE(pulled.ok());
    EXPECT_EQ(pulled.error().kind, ErrorKind::runtime);
    EXPECT_THAT(pulled.error().message, HasSubstr(cache_));
    EXPECT_THAT(pulled.error().message, HasSubstr(problem));
    std::error_code none;
    for (const auto& entry : fs::recursive_directory_iterator(cache_, none))
      EXPECT_NE(entry.path().extension(), ".tmp") << entry.path();
  }

  void expect_next_run_to_finish() {
    const auto pulled = pull(request());
    ASSERT_TRUE(pulled.ok()) << pulled.error().message;
    expect_whole_model(*pulled);
    EXPECT_EQ(content_of(HfCache(cache_, StandInHub::kRepo).folder() + "/refs/main"),
              StandInHub::kCommit);
    fs::remove_all(cache_);
  }
};

TEST_F(PullFaults, AnyCallThatFailsIsAnErrorOrWithoutEffect) {
  const int64_t count = calls();
  ASSERT_GT(count, 20);
  int errors = 0;
  for (int64_t call = 0; call < count; ++call) {
    SCOPED_TRACE(fmt::format("call {} of {}", call, count));
    const auto pulled = pull_with({.fail_at = call});
    expect_absent_or_whole();
    if (!pulled.ok()) {
      ++errors;
      expect_error(pulled, "Input/output error");
    }
    expect_next_run_to_finish();
  }
  EXPECT_GT(errors, count / 2);
}

// The last bytes that are written are the name of the revision.
TEST_F(PullFaults, AFullDiskIsAnErrorAndTheDownloadGoesOnLater) {
  const int64_t files = 24 + 3000 + std::ssize(weights_);
  const int64_t all = files + std::ssize(std::string(StandInHub::kCommit));
  for (const int64_t room : {int64_t{0}, int64_t{10}, int64_t{2000}, int64_t{100'000}, files - 1,
                             files, files + 1, all - 1}) {
    SCOPED_TRACE(fmt::format("{} of {} bytes", room, all));
    expect_error(pull_with({.room = room}), "No space left on device");
    expect_absent_or_whole();
    expect_next_run_to_finish();
  }
  EXPECT_TRUE(pull_with({.room = all}).ok());
}

}  // namespace
}  // namespace dunlin
