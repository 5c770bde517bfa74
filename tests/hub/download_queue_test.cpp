// Downloads side by side, without a server: all are there already.
#include "hub/download_queue.h"

#include "hub_fixture.h"

namespace dunlin {
namespace {

using DownloadQueue = HubTest;

// A download that ends before the next has a thread once left the queue waiting for a thread that
// was never begun. One that all downloads were done with before it waited told nobody how much there is.
TEST_F(DownloadQueue, EndsHoweverSoonItsDownloadsDo) {
  std::vector<QueuedDownload> downloads(4);
  for (size_t i = 0; i < downloads.size(); ++i) {
    downloads[i].what = {.file = {.size = 10, .etag = std::string(64, 'a')},
                         .lock = folder_.file(fmt::format("{}.lock", i)),
                         .present = [] { return true; }};
  }
  for (int round = 0; round < 300; ++round) {
    int64_t arrived = 0;
    const auto done = download_all(downloads, http(), [&](int64_t bytes) { arrived = bytes; });
    ASSERT_TRUE(done.ok()) << done.error().message;
    ASSERT_EQ(arrived, 40);
  }
}

}  // namespace
}  // namespace dunlin
