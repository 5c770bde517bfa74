// The cache of packed weights: what was kept is found, by whoever loads the same model in the same way;
// whatever is wrong with it is a note or a warning, and the weights are packed again.
#include "checkpoint/pack_cache.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>

#include <algorithm>
#include <chrono>
#include <cstring>
#include <filesystem>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "artifact/writer.h"
#include "pack_cache_fixture.h"
#include "support/faulty_disk.h"

namespace dunlin {
namespace {

namespace fs = std::filesystem;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

using PackCacheTest = PackCacheFixture;

TEST_F(PackCacheTest, FindsWhatAnotherProcessKept) {
  EXPECT_FALSE(finds());
  PackCache first = cache();
  EXPECT_TRUE(pack(first, large_parts()));
  EXPECT_FALSE(first.hit());
  EXPECT_THAT(first.notes(), ElementsAre("kept in " + entry() + ", 5.0 MB"));
  EXPECT_TRUE(finds("", large_parts()));
  PackCache second = cache();
  EXPECT_TRUE(second.find(kPacking, large_parts()) != nullptr);
  EXPECT_THAT(second.notes(), ElementsAre("from " + entry()));
  struct stat status = {};
  ASSERT_EQ(::stat(cache_.c_str(), &status), 0);
  EXPECT_EQ(status.st_mode & 0777u, 0700u);
  EXPECT_THAT(warnings_, IsEmpty());
}

// As who packs two weights from one reading does.
TEST_F(PackCacheTest, PartsMayComeInPiecesAndInTurn) {
  PackCache whole = cache();
  EXPECT_TRUE(pack(whole, large_parts()));
  const std::string wanted = content_of(entry());
  fs::remove(entry());
  PackCache other = cache();
  EXPECT_TRUE(other.find(kPacking, large_parts()) == nullptr);
  ASSERT_TRUE(other.begin());
  const PreparedPart small = large_parts()[0], large = large_parts()[1];
  const Bytes of_small = bytes_of(small), of_large = bytes_of(large);
  EXPECT_TRUE(other.append(large, std::span(of_large).first(4'500'000)));
  EXPECT_TRUE(other.append(small, std::span(of_small).first(1)));
  EXPECT_TRUE(other.append(large, std::span(of_large).subspan(4'500'000)));
  EXPECT_TRUE(other.append(small, std::span(of_small).subspan(1)));
  EXPECT_TRUE(other.commit());
  EXPECT_TRUE(content_of(entry()) == wanted);
  EXPECT_TRUE(finds("", large_parts()));
}

TEST_F(PackCacheTest, WhoNeedsWhatIsNotKeptIsToldWhy) {
  PackCacheSettings small = settings();
  small.most_bytes = 10;
  PackCache too_large(small, *checkpoint_, "");
  EXPECT_FALSE(pack(too_large, two_parts()));
  EXPECT_EQ(too_large.not_kept().kind, ErrorKind::usage);
  EXPECT_EQ(too_large.not_kept().message,
            model_ +
                ": its packed weights cannot be kept on disk, where they would be mapped: "
                "0.0 MB are more than the 0.0 MB that are kept; `dunlin convert " +
                model_ + " OUT --to prepared` packs them ahead");
  EXPECT_THAT(warnings_, IsEmpty());
  const FaultyDisk disk({.room = 1000});
  PackCache full = cache();
  EXPECT_TRUE(full.find(kPacking, large_parts()) == nullptr);
  ASSERT_TRUE(full.begin());
  EXPECT_FALSE(full.append(large_parts()[1], bytes_of(large_parts()[1])));
  EXPECT_FALSE(full.append(large_parts()[0], bytes_of(large_parts()[0])));
  EXPECT_FALSE(full.commit());
  EXPECT_THAT(full.not_kept().message, HasSubstr("No space left on device; `dunlin convert"));
}

// What is to be mapped is looked for at once, and was not there before.
TEST_F(PackCacheTest, WhatWasJustKeptIsFoundAndIsNoHit) {
  PackCache first = cache();
  EXPECT_TRUE(pack(first, two_parts()));
  EXPECT_TRUE(first.find(kPacking, two_parts()) != nullptr);
  EXPECT_FALSE(first.hit());
}

TEST_F(PackCacheTest, OtherWeightsAreAnotherEntry) {
  ASSERT_TRUE(keep());
  EXPECT_FALSE(finds("Q4_0"));
  EXPECT_FALSE(finds("", two_parts(), "test 2"));
  Parts parts = two_parts();
  parts[1].name = "gate q8 [9]";
  EXPECT_FALSE(finds("", parts));
  parts = two_parts();
  parts[0].bytes += 64;
  EXPECT_FALSE(finds("", parts));
  parts = two_parts();
  parts.pop_back();
  EXPECT_FALSE(finds("", parts));
  parts = two_parts();
  parts.push_back({.name = "up q4 [9]", .bytes = 100});
  EXPECT_FALSE(finds("", parts));
  // In another order they are the same.
  parts = two_parts();
  std::swap(parts[0], parts[1]);
  EXPECT_TRUE(finds("", parts));
  EXPECT_THAT(warnings_, IsEmpty());
}

TEST_F(PackCacheTest, AModelMayMove) {
  ASSERT_TRUE(keep());
  fs::rename(model_, folder_.file("moved.gguf"));
  checkpoint_ = open_checkpoint(folder_.file("moved.gguf")).value();
  EXPECT_TRUE(finds());
}

TEST_F(PackCacheTest, AFileThatWasWrittenAgainIsAnotherModel) {
  ASSERT_TRUE(keep());
  const auto written = fs::last_write_time(model_);
  fs::last_write_time(model_, written + std::chrono::microseconds(1));
  EXPECT_FALSE(finds());
  fs::last_write_time(model_, written);
  EXPECT_TRUE(finds());
  // Of another size, whatever its time says.
  const std::string content = content_of(model_);
  put(model_, content + "x");
  fs::last_write_time(model_, written);
  EXPECT_FALSE(finds());
  fs::resize_file(model_, content.size());
  fs::last_write_time(model_, written);
  EXPECT_TRUE(finds());
  // Another file of the same bytes and time in its place.
  put(folder_.file("other"), content);
  fs::last_write_time(folder_.file("other"), written);
  fs::rename(folder_.file("other"), model_);
  EXPECT_FALSE(finds());
  // The same file with other weights, and nothing else to tell.
  fs::remove_all(cache_);
  const auto again = fs::last_write_time(model_);
  ASSERT_TRUE(keep());
  std::string other = content;
  for (size_t at = 1; at <= 64; ++at)  // weights, with the padding of the last one
    other[other.size() - at] = static_cast<char>(other[other.size() - at] ^ 1);
  put(model_, other);
  fs::last_write_time(model_, again);
  checkpoint_ = open_checkpoint(model_).value();
  EXPECT_FALSE(finds());
}

TEST_F(PackCacheTest, AModelThatChangesWhileItIsReadIsNotKept) {
  PackCache slow = cache();
  EXPECT_TRUE(slow.find(kPacking, two_parts()) == nullptr);
  ASSERT_TRUE(slow.begin());
  fs::last_write_time(model_, fs::last_write_time(model_) + std::chrono::seconds(1));
  for (const PreparedPart& part : two_parts()) slow.append(part, bytes_of(part));
  EXPECT_FALSE(slow.commit());
  EXPECT_THAT(warnings_, ElementsAre(HasSubstr("model.gguf: changed while it was read")));
  EXPECT_THAT(files(), IsEmpty());
}

TEST_F(PackCacheTest, ADamagedEntryIsReplaced) {
  ASSERT_TRUE(keep());
  const std::string path = entry();
  const std::string good = content_of(path);
  const auto flipped = [&good](size_t at) {
    std::string bad = good;
    bad[at] = static_cast<char>(bad[at] ^ 1);
    return bad;
  };
  std::vector<std::string> damages = {"",
                                      "something else",
                                      good.substr(0, 63),
                                      good.substr(0, good.size() / 2),
                                      good.substr(0, good.size() - 1),
                                      good + "x"};
  for (size_t at = 0; at < 64; ++at) damages.push_back(flipped(at));  // magic, version, sizes
  for (size_t at = 1; at < 150; at += 9) damages.push_back(flipped(good.size() - at));  // table
  for (size_t i = 0; i < damages.size(); ++i) {
    put(path, damages[i]);
    PackCache cache_of_one = cache();
    EXPECT_TRUE(pack(cache_of_one, two_parts())) << i;
    EXPECT_THAT(cache_of_one.notes(),
                ElementsAre(HasSubstr("packed again: " + path), HasSubstr("kept in")))
        << i;
    EXPECT_TRUE(finds()) << i;
  }
  EXPECT_THAT(warnings_, IsEmpty());
}

// Whoever copies compares, whoever maps does not, as with a prepared directory.
TEST_F(PackCacheTest, DamagedWeightsAreFoundByReading) {
  ASSERT_TRUE(keep("", large_parts()));
  const std::string path = entry();
  std::string bad = content_of(path);
  bad[bad.size() / 2] = static_cast<char>(bad[bad.size() / 2] ^ 1);
  put(path, bad);
  PackCache other = cache();
  const auto found = other.find(kPacking, large_parts());
  ASSERT_TRUE(found != nullptr);
  const PreparedPart part = large_parts()[1];
  Bytes piece(found->piece_bytes());
  const auto read = found->read(part, 0, piece);
  ASSERT_FALSE(read.ok());
  EXPECT_THAT(read.error().message, HasSubstr(path + ": damaged"));
  other.refuse(read.error());
  EXPECT_FALSE(other.hit());
  ASSERT_TRUE(other.begin());
  for (const PreparedPart& each : large_parts()) other.append(each, bytes_of(each));
  EXPECT_TRUE(other.commit());
  EXPECT_TRUE(finds("", large_parts()));
}

TEST_F(PackCacheTest, AnEntryUnderAnotherNameIsNotTaken) {
  ASSERT_TRUE(keep());
  const std::string first = entry();
  ASSERT_TRUE(keep("Q4_0"));
  for (const std::string& name : files()) {
    const std::string path = cache_ + "/" + name;
    if (path != first) fs::rename(path, first);
  }
  PackCache other = cache();
  EXPECT_TRUE(other.find(kPacking, two_parts()) == nullptr);
  EXPECT_THAT(other.notes(), ElementsAre(HasSubstr("of another model")));
}

TEST_F(PackCacheTest, AnEntryWithoutAPartIsNotTaken) {
  ASSERT_TRUE(keep());
  const std::string path = entry();
  auto writer = ArtifactWriter::create(
      path, {.kind = "packed weights", .key = fs::path(path).stem().string()});
  ASSERT_TRUE(writer.ok());
  const PreparedPart part = two_parts()[0];
  ASSERT_TRUE(writer->begin_chunk(part.name).ok());
  ASSERT_TRUE(writer->append(bytes_of(part)).ok());
  ASSERT_TRUE(writer->commit().ok());
  PackCache other = cache();
  EXPECT_TRUE(other.find(kPacking, two_parts()) == nullptr);
  EXPECT_THAT(other.notes(), ElementsAre(HasSubstr("gate q4 [9] is missing")));
}

TEST_F(PackCacheTest, ADirectoryInItsPlaceIsOneWarning) {
  ASSERT_TRUE(keep());
  const std::string path = entry();
  fs::remove(path);
  fs::create_directory(path);
  EXPECT_FALSE(keep());
  EXPECT_THAT(warnings_, ElementsAre(HasSubstr("packed weights are not kept: " + path)));
}

TEST_F(PackCacheTest, AFolderThatCannotBeMadeIsOneWarning) {
  put(folder_.file("deep"), "a file");
  EXPECT_FALSE(keep());
  EXPECT_THAT(warnings_, ElementsAre(HasSubstr("packed weights are not kept: " + cache_)));
}

TEST_F(PackCacheTest, AFolderThatAnyoneMayWriteToIsNotUsed) {
  ASSERT_TRUE(keep());
  fs::permissions(cache_, fs::perms::all);
  EXPECT_FALSE(finds());
  EXPECT_FALSE(keep());
  EXPECT_THAT(warnings_, testing::Each(HasSubstr("anyone may write")));
  EXPECT_EQ(warnings_.size(), 2u);  // of two loadings
}

TEST_F(PackCacheTest, WithoutAFolderNothingIsKept) {
  cache_.clear();
  EXPECT_FALSE(keep());
  EXPECT_THAT(warnings_, IsEmpty());
}

TEST_F(PackCacheTest, AFullDiskIsOneWarningAndLeavesNothing) {
  const uint64_t total = total_of(large_parts());
  for (const int64_t room : {0, 10, 64, 4'000'000, 5'000'000}) {
    warnings_.clear();
    {
      const FaultyDisk disk({.room = room});
      EXPECT_FALSE(keep("", large_parts())) << room;
    }
    EXPECT_THAT(warnings_, ElementsAre(HasSubstr("No space left"))) << room;
    EXPECT_THAT(files(), IsEmpty()) << room;
  }
  // At least as much again stays free.
  warnings_.clear();
  {
    const FaultyDisk disk({.free_bytes = static_cast<int64_t>(2 * total - 1)});
    EXPECT_FALSE(keep("", large_parts()));
  }
  EXPECT_THAT(warnings_, ElementsAre(HasSubstr("5.0 MB would take more than half of the 10.0 MB")));
  {
    const FaultyDisk disk({.free_bytes = static_cast<int64_t>(2 * total)});
    EXPECT_TRUE(keep("", large_parts()));
  }
  EXPECT_TRUE(finds("", large_parts()));
}

TEST_F(PackCacheTest, EveryCallOfTheDiskMayFail) {
  int64_t calls = 0;
  {
    const FaultyDisk disk;
    ASSERT_TRUE(keep());
    calls = disk.calls();
  }
  int failed = 0;
  for (int64_t call = 0; call < calls; ++call) {
    fs::remove_all(folder_.file("deep"));
    warnings_.clear();
    bool kept = false;
    {
      const FaultyDisk disk({.fail_at = call});
      kept = keep();
    }
    EXPECT_EQ(finds(), kept) << call;
    EXPECT_EQ(warnings_.size(), kept ? 0u : 1u) << call;
    EXPECT_EQ(files().size(), kept ? 1u : 0u) << call;
    failed += kept ? 0 : 1;
  }
  // All but the last, which makes the name durable: nobody can tell whether it did.
  EXPECT_EQ(failed, calls - 1);
  EXPECT_GE(failed, 8);
}

TEST_F(PackCacheTest, AWriterThatIsKilledLeavesNothingThatIsFound) {
  Ended ended = Ended::killed;
  for (int64_t call = 0; ended == Ended::killed; ++call) {
    ended = run_killed_at(call, [this] { return keep(); });
    ASSERT_NE(ended, Ended::failed) << call;
    if (ended == Ended::killed && !files().empty() && files()[0].ends_with(".tmp")) {
      EXPECT_FALSE(finds()) << call;
      EXPECT_TRUE(keep()) << call;  // over what was left
    }
    if (!files().empty()) {
      EXPECT_TRUE(finds()) << call;
    }
    fs::remove_all(folder_.file("deep"));
  }
  EXPECT_THAT(warnings_, IsEmpty());
}

TEST_F(PackCacheTest, OfTwoWritersOneKeeps) {
  PackCache first = cache();
  EXPECT_TRUE(first.find(kPacking, two_parts()) == nullptr);
  ASSERT_TRUE(first.begin());
  EXPECT_FALSE(keep());
  EXPECT_THAT(warnings_, ElementsAre(HasSubstr("another process is writing it")));
  for (const PreparedPart& part : two_parts()) first.append(part, bytes_of(part));
  EXPECT_TRUE(first.commit());
  EXPECT_TRUE(finds());
  // One after the other they write the same.
  PackCache late = cache();
  EXPECT_TRUE(late.find(kPacking, two_parts()) != nullptr);
  ASSERT_TRUE(late.begin());
  for (const PreparedPart& part : two_parts()) late.append(part, bytes_of(part));
  EXPECT_TRUE(late.commit());
  EXPECT_TRUE(finds());
}

// Somebody has it mapped.
TEST_F(PackCacheTest, WhatIsMappedOutlivesItsEntry) {
  ASSERT_TRUE(keep());
  PackCache other = cache();
  const auto found = other.find(kPacking, two_parts());
  ASSERT_TRUE(found != nullptr);
  fs::remove(entry());
  const PreparedPart part = two_parts()[1];
  const Bytes wanted = bytes_of(part);
  EXPECT_EQ(std::memcmp(found->find(part), wanted.data(), wanted.size()), 0);
}

TEST_F(PackCacheTest, SizesDecideWhatIsKept) {
  const uint64_t total = total_of(large_parts());
  PackCacheSettings chosen = settings();
  chosen.least_bytes = total + 1;
  PackCache too_small(chosen, *checkpoint_, "");
  EXPECT_FALSE(pack(too_small, large_parts()));
  EXPECT_THAT(too_small.notes(), ElementsAre("5.0 MB are too few to be kept"));
  chosen = settings();
  chosen.most_bytes = total - 1;
  ASSERT_TRUE(keep("Q4_0", large_parts()));
  PackCache too_large(chosen, *checkpoint_, "");
  EXPECT_FALSE(pack(too_large, large_parts()));
  EXPECT_THAT(too_large.notes(), ElementsAre(HasSubstr("more than the 5.0 MB that are kept")));
  EXPECT_TRUE(finds("Q4_0", large_parts()));  // nothing went for it
  chosen = settings();
  chosen.least_bytes = total;
  PackCache just_enough(chosen, *checkpoint_, "");
  EXPECT_TRUE(pack(just_enough, large_parts()));
  EXPECT_THAT(warnings_, IsEmpty());
}

TEST_F(PackCacheTest, WhatWasNotUsedForLongestMakesRoom) {
  const std::vector<std::string> encodings = {"a", "b", "c", "d"};
  std::vector<std::string> before;
  for (size_t i = 0; i < encodings.size(); ++i) {
    ASSERT_TRUE(keep(encodings[i]));
    for (const std::string& name : files()) {
      if (std::ranges::find(before, name) != before.end()) continue;
      before.push_back(name);
      fs::last_write_time(cache_ + "/" + name, fs::file_time_type::clock::now() -
                                                   std::chrono::hours(10 - static_cast<int>(i)));
    }
  }
  EXPECT_TRUE(finds("a"));  // the oldest is used again
  PackCacheSettings small = settings();
  small.most_bytes = 3 * total_of(two_parts()) + 2000;  // of three, with their tables
  PackCache cache_of_three(small, *checkpoint_, "e");
  EXPECT_TRUE(pack(cache_of_three, two_parts()));
  for (const char* encoding : {"a", "d", "e"}) EXPECT_TRUE(finds(encoding)) << encoding;
  for (const char* encoding : {"b", "c"}) EXPECT_FALSE(finds(encoding)) << encoding;
  EXPECT_THAT(warnings_, IsEmpty());
}

}  // namespace
}  // namespace dunlin
