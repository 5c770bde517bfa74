#include "base/system_memory.h"

#include <gtest/gtest.h>
#include <sys/sysinfo.h>
#include <unistd.h>

namespace dunlin {
namespace {

// As the C library counts its pages, and swap besides.
TEST(SystemMemory, HoldsAllPages) {
  const auto pages = static_cast<uint64_t>(::get_phys_pages());
  const auto page_bytes = static_cast<uint64_t>(::sysconf(_SC_PAGESIZE));
  ASSERT_GT(pages, 0u);
  // Rounded to the unit of sysinfo().
  EXPECT_GE(system_memory(), (pages - 1) * page_bytes);
  EXPECT_LT(system_memory(), uint64_t{1} << 60);
}

}  // namespace
}  // namespace dunlin
