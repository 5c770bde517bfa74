// Pages of ranges, and that advice about them changes no byte.
#include "backend/cpu/pager.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstddef>
#include <cstdint>
#include <fstream>
#include <string>
#include <vector>

#include "base/mapped_file.h"
#include "support/temporary_folder.h"

namespace dunlin::cpu {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;

const int64_t kPage = ::sysconf(_SC_PAGESIZE);

// At an address that is never read.
MemoryRange range(int64_t begin, int64_t bytes) {
  return {reinterpret_cast<const std::byte*>(16 * kPage + begin), bytes};
}

TEST(Pages, CoverARangeOrLieWithinIt) {
  EXPECT_EQ(covering_pages(range(0, kPage)), range(0, kPage));
  EXPECT_EQ(covering_pages(range(64, 1)), range(0, kPage));
  EXPECT_EQ(covering_pages(range(kPage - 1, 2)), range(0, 2 * kPage));
  EXPECT_EQ(pages_within(range(0, kPage)), range(0, kPage));
  EXPECT_EQ(pages_within(range(0, 2 * kPage - 1)), range(0, kPage));
  EXPECT_EQ(pages_within(range(1, 2 * kPage - 1)), range(kPage, kPage));
  EXPECT_EQ(pages_within(range(1, kPage)).bytes, 0);
  EXPECT_EQ(pages_within(range(64, 64)).bytes, 0);
  EXPECT_EQ(covering_pages({}).bytes, 0);
  EXPECT_EQ(pages_within({}).bytes, 0);
}

TEST(Ranges, AreJoinedWhereTheyMeet) {
  EXPECT_THAT(joined({}), IsEmpty());
  EXPECT_THAT(joined({range(300, 100), range(0, 100), range(128, 160)}),
              ElementsAre(range(0, 400)));
  EXPECT_THAT(joined({range(164, 10), range(0, 100)}), ElementsAre(range(0, 100), range(164, 10)));
  EXPECT_THAT(joined({range(0, 100), range(10, 20)}), ElementsAre(range(0, 100)));
}

TEST(SystemPager, LeavesTheBytesAlone) {
  const TemporaryFolder folder;
  const std::string path = folder.file("pages");
  std::string text;
  for (int i = 0; i < 100'000; ++i) text += std::to_string(i);  // some pages, and a part of one
  std::ofstream(path, std::ios::binary) << text;
  {
    const MappedFile file = MappedFile::open(path).value();
    const auto intact = [&] {
      return std::string(reinterpret_cast<const char*>(file.bytes().data()), file.bytes().size()) ==
             text;
    };
    const auto pager = make_system_pager();
    const MemoryRange all = {file.bytes().data(), static_cast<int64_t>(file.bytes().size())};
    const MemoryRange inner = {all.begin + 100, all.bytes - 200};
    for (const MemoryRange& each : {all, inner}) {
      pager->read_ahead(each);
      EXPECT_TRUE(intact());
      pager->drop(each);
      EXPECT_TRUE(intact());
      (void)pager->hold(each);
      EXPECT_TRUE(intact());
      pager->drop(each);  // of locked pages: the system refuses
      EXPECT_TRUE(intact());
      pager->release(each);
      pager->drop(each);
      EXPECT_TRUE(intact());
    }
    EXPECT_TRUE(pager->hold({}));
  }
}

}  // namespace
}  // namespace dunlin::cpu
