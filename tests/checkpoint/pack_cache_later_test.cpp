// Packed weights that are written while their model is used: the entry is whole, or there is none, whenever
// the model, the process or the disk ends.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <filesystem>
#include <memory>
#include <stdexcept>
#include <string>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

#include "pack_cache_fixture.h"
#include "support/faulty_disk.h"

namespace dunlin {
namespace {

using testing::Each;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::Not;

class PackCacheLater : public PackCacheFixture {
 protected:
  // The bytes of all parts, one behind the other, as a back end's arena has them.
  static std::shared_ptr<const Bytes> memory_of(const Parts& parts) {
    auto memory = std::make_shared<Bytes>();
    for (const PreparedPart& part : parts) {
      const Bytes bytes = bytes_of(part);
      memory->insert(memory->end(), bytes.begin(), bytes.end());
    }
    return memory;
  }

  // As a back end does that found nothing and has packed them.
  static void give(PackCache& cache, const Parts& parts, std::shared_ptr<const Bytes> memory) {
    std::vector<PackedPart> packed;
    const std::byte* at = memory->data();
    for (const PreparedPart& part : parts) {
      packed.push_back({.part = part, .data = at});
      at += part.bytes;
    }
    cache.keep_later(std::move(packed), std::move(memory));
  }
  static void pack_later(PackCache& cache, const Parts& parts) {
    EXPECT_TRUE(cache.find(kPacking, parts) == nullptr);
    give(cache, parts, memory_of(parts));
  }

  bool keep_later(const Parts& parts = two_parts()) const {
    {
      PackCache fresh = cache();
      pack_later(fresh, parts);
    }
    return finds("", parts);
  }

  // Closed: the calls of the disk wait.
  static void wait_for(const std::atomic<bool>& open) {
    while (!open) std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
};

TEST_F(PackCacheLater, TheEntryIsTheSameFile) {
  ASSERT_TRUE(keep("", large_parts()));
  const std::string wanted = content_of(entry());
  std::filesystem::remove(entry());
  PackCache first = cache();
  pack_later(first, large_parts());
  EXPECT_THAT(first.notes(), ElementsAre(HasSubstr("5.0 MB are written to " + cache_)));
  first.finish();
  EXPECT_TRUE(content_of(entry()) == wanted);
  EXPECT_THAT(first.notes(), testing::Contains("kept in " + entry() + ", 5.0 MB"));
  EXPECT_FALSE(first.hit());
  EXPECT_TRUE(finds("", large_parts()));
  EXPECT_THAT(warnings_, IsEmpty());
}

TEST_F(PackCacheLater, TheModelDoesNotWaitForTheDisk) {
  std::atomic<bool> open = false;
  const FaultyDisk disk({.before = [&open](std::string_view) { wait_for(open); }});
  PackCache first = cache();
  pack_later(first, two_parts());  // returns, though no call of the disk does
  EXPECT_FALSE(finds());
  open = true;
  first.finish();
  EXPECT_TRUE(finds());
}

TEST_F(PackCacheLater, WhoeverEndsTheModelWaitsForIt) {
  std::vector<std::string> notes;
  std::atomic<bool> open = false;
  int asked = 0;
  {
    const FaultyDisk disk({.before = [&open](std::string_view) { wait_for(open); }});
    PackCacheSettings waiting = settings();
    waiting.still_waits = [&open, &asked] {
      if (++asked == 3) open = true;
      return true;
    };
    waiting.ended = [&notes](const std::string& note) { notes.push_back(note); };
    PackCache first(waiting, *checkpoint_, "");
    pack_later(first, two_parts());
  }
  EXPECT_GE(asked, 3);
  EXPECT_THAT(notes, ElementsAre("kept in " + entry() + ", 0.0 MB"));
  EXPECT_TRUE(finds());
}

// As after Ctrl-C: nothing is left, not even a temporary file.
TEST_F(PackCacheLater, WhatIsNotWaitedForIsDropped) {
  // Stopped in one of the first calls of the disk: of the folders, the file, its header, a piece.
  for (int stopped_in = 0; stopped_in < 5; ++stopped_in) {
    std::filesystem::remove_all(folder_.file("deep"));
    std::vector<std::string> notes;
    std::atomic<bool> open = false;
    std::atomic<int> calls = 0;
    const FaultyDisk disk({.before = [&](std::string_view) {
      if (calls++ == stopped_in) wait_for(open);
    }});
    PackCacheSettings dropping = settings();
    int asked = 0;
    dropping.still_waits = [&open, &asked] {
      // The first answer stops it, before the disk goes on.
      if (++asked == 2) open = true;
      return false;
    };
    dropping.ended = [&notes](const std::string& note) { notes.push_back(note); };
    {
      PackCache first(dropping, *checkpoint_, "");
      pack_later(first, large_parts());
    }
    EXPECT_THAT(notes, ElementsAre("not kept: the process ended before the file was whole"))
        << stopped_in;
    EXPECT_THAT(files(), IsEmpty()) << stopped_in;
  }
  EXPECT_THAT(warnings_, IsEmpty());
  EXPECT_TRUE(keep_later(large_parts()));
}

TEST_F(PackCacheLater, AProcessThatIsKilledLeavesNothingThatIsFound) {
  const auto keep_one = [this] {
    PackCache fresh = cache();
    pack_later(fresh, two_parts());
    fresh.finish();
    return true;
  };
  Ended ended = Ended::killed;
  int killed = 0;
  for (int64_t call = 0; ended == Ended::killed; ++call) {
    ended = run_killed_at(call, keep_one);
    ASSERT_NE(ended, Ended::failed) << call;
    killed += ended == Ended::killed ? 1 : 0;
    const std::vector<std::string> left = files();
    if (!left.empty() && left[0].ends_with(".tmp")) {
      EXPECT_FALSE(finds()) << call;
      EXPECT_TRUE(keep_later()) << call;  // over what was left
    }
    EXPECT_THAT(files(), Each(Not(HasSubstr(".tmp")))) << call;
    std::filesystem::remove_all(folder_.file("deep"));
  }
  EXPECT_GE(killed, 8);
  EXPECT_THAT(warnings_, IsEmpty());
}

TEST_F(PackCacheLater, EveryErrorIsOneWarningAndLeavesNothing) {
  int64_t calls = 0;
  {
    const FaultyDisk disk;
    PackCache fresh = cache();
    pack_later(fresh, two_parts());
    fresh.finish();
    calls = disk.calls();
  }
  int failed = 0;
  for (int64_t call = 0; call < calls; ++call) {
    std::filesystem::remove_all(folder_.file("deep"));
    warnings_.clear();
    PackCache fresh = cache();
    {
      const FaultyDisk disk({.fail_at = call});
      pack_later(fresh, two_parts());
      fresh.finish();
    }
    const bool kept = finds();
    EXPECT_EQ(warnings_.size(), kept ? 0u : 1u) << call;
    EXPECT_THAT(warnings_, Each(HasSubstr("packed weights are not kept: "))) << call;
    EXPECT_EQ(files().size(), kept ? 1u : 0u) << call;
    EXPECT_THAT(fresh.notes().back(), HasSubstr(kept ? "kept in " : "not kept: ")) << call;
    failed += kept ? 0 : 1;
  }
  // All but the last, which makes the name durable: nobody can tell whether it did.
  EXPECT_EQ(failed, calls - 1);
  EXPECT_GE(failed, 8);
}

// Nothing that is thrown ends the process.
TEST_F(PackCacheLater, WhatIsThrownIsAWarning) {
  const FaultyDisk disk({.before = [](std::string_view call) {
    if (call == "write") throw std::runtime_error("odd");
  }});
  PackCache first = cache();
  pack_later(first, two_parts());
  first.finish();
  EXPECT_THAT(warnings_, ElementsAre("packed weights are not kept: " + cache_ + ": odd"));
  EXPECT_THAT(files(), IsEmpty());
}

// It writes from the memory that the model computes with, and lets go of it.
TEST_F(PackCacheLater, TheMemoryIsSharedAndNotCopied) {
  std::atomic<bool> open = false;
  const FaultyDisk disk({.before = [&open](std::string_view) { wait_for(open); }});
  PackCache first = cache();
  EXPECT_TRUE(first.find(kPacking, large_parts()) == nullptr);
  const auto memory = memory_of(large_parts());
  give(first, large_parts(), memory);
  EXPECT_EQ(memory.use_count(), 2);  // ours and that of the writer
  open = true;
  first.finish();
  EXPECT_EQ(memory.use_count(), 1);
  EXPECT_TRUE(finds("", large_parts()));
}

// Of what was written, no more than 64 MiB are in the system's memory and not on the disk.
TEST_F(PackCacheLater, TheDiskIsWaitedForNowAndThen) {
  Parts parts = two_parts();
  parts[1].bytes = (int64_t{65} << 20) + 1;
  std::atomic<int> waits = 0;
  {
    const FaultyDisk disk(
        {.before = [&waits](std::string_view call) { waits += call == "fsync"; }});
    PackCache first = cache();
    pack_later(first, parts);
    first.finish();
  }
  EXPECT_EQ(waits, 3);  // once on the way, then for the whole file, and for its folder
  EXPECT_TRUE(finds("", parts));
}

// All was read before, so only what changes until then is another model.
TEST_F(PackCacheLater, AModelThatChangedWhileItWasReadIsNotKept) {
  PackCache slow = cache();
  EXPECT_TRUE(slow.find(kPacking, two_parts()) == nullptr);
  const auto written = std::filesystem::last_write_time(model_);
  std::filesystem::last_write_time(model_, written + std::chrono::seconds(1));
  give(slow, two_parts(), memory_of(two_parts()));
  slow.finish();
  EXPECT_THAT(warnings_, ElementsAre(HasSubstr("model.gguf: changed while it was read")));
  EXPECT_THAT(files(), IsEmpty());

  std::filesystem::last_write_time(model_, written);
  PackCache other = cache();
  pack_later(other, two_parts());
  std::filesystem::last_write_time(model_, written + std::chrono::seconds(1));
  other.finish();
  EXPECT_FALSE(finds());
  std::filesystem::last_write_time(model_, written);
  EXPECT_TRUE(finds());
}

TEST_F(PackCacheLater, SizesDecideWhatIsKept) {
  PackCacheSettings chosen = settings();
  chosen.least_bytes = total_of(two_parts()) + 1;
  PackCache too_small(chosen, *checkpoint_, "");
  pack_later(too_small, two_parts());
  too_small.finish();
  EXPECT_THAT(too_small.notes(), ElementsAre(HasSubstr("are too few to be kept")));
  chosen = settings();
  chosen.most_bytes = total_of(two_parts()) - 1;
  PackCache too_large(chosen, *checkpoint_, "");
  pack_later(too_large, two_parts());
  too_large.finish();
  EXPECT_THAT(too_large.notes(), ElementsAre(HasSubstr("that are kept")));
  EXPECT_THAT(files(), IsEmpty());
  EXPECT_THAT(warnings_, IsEmpty());
}

}  // namespace
}  // namespace dunlin
