// Conversions that are ended at any moment, and disks that fail: the output is absent or whole, and the
// next run goes on to the same bits.
#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <chrono>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <map>

#include "backend/cpu/cpu_backend.h"
#include "base/log.h"
#include "convert/choose_formats.h"
#include "convert/gguf_tensors.h"
#include "convert/hf_quantization.h"
#include "convert/write_gguf.h"
#include "convert/write_hf.h"
#include "convert/write_prepared.h"
#include "models/registry.h"
#include "support/conversion.h"
#include "support/faulty_disk.h"
#include "support/temporary_folder.h"
#include "support/text_model_folder.h"

namespace dunlin {
namespace {

namespace fs = std::filesystem;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::StartsWith;
using Files = std::map<std::string, std::string>;  // path to content

// What is written where.
struct Kind {
  const char* name;
  const char* out;
  size_t tensors;
  Result<size_t> (*write)(const std::string& in, const std::string& out,
                          const ConvertProgress& progress);
};

Result<size_t> quantize(const std::string& in, const std::string& out, const char* type,
                        const ConvertProgress& progress) {
  DUNLIN_ASSIGN_OR_RETURN(const auto checkpoint, open_checkpoint(in));
  DUNLIN_ASSIGN_OR_RETURN(auto tensors, gguf_tensors(*checkpoint));
  const FormatOptions options = {.type = find_quantize_type(type)};
  if (const auto chosen = choose_formats(checkpoint->config(), options, tensors); !chosen.ok())
    return chosen.error();
  DUNLIN_ASSIGN_OR_RETURN(const auto pool, ThreadPool::create(2));
  return write_gguf(*checkpoint, tensors, {.file_type = 7}, out, *pool, progress);
}

Result<size_t> shards(const std::string& in, const std::string& out,
                      const ConvertProgress& progress) {
  DUNLIN_ASSIGN_OR_RETURN(const auto checkpoint, open_checkpoint(in));
  DUNLIN_ASSIGN_OR_RETURN(const HfTensors tensors, hf_tensors(*checkpoint, {}));
  DUNLIN_ASSIGN_OR_RETURN(const auto pool, ThreadPool::create(2));
  return write_hf(*checkpoint, tensors, out, 200'000, *pool, progress);
}

// Elements and scales of a matrix may come into different shards.
Result<size_t> eight_bits(const std::string& in, const std::string& out,
                          const ConvertProgress& progress) {
  DUNLIN_ASSIGN_OR_RETURN(const auto checkpoint, open_checkpoint(in));
  std::vector<Fallback> fallbacks;
  const FormatOptions options = {.type = find_quantize_type("F8_E4M3_B128")};
  DUNLIN_ASSIGN_OR_RETURN(const HfTensors tensors,
                          scaled_hf_tensors(*checkpoint, options, fallbacks));
  DUNLIN_ASSIGN_OR_RETURN(const auto pool, ThreadPool::create(2));
  return write_hf(*checkpoint, tensors, out, 60'000, *pool, progress);
}

// In files of some parts.
Result<size_t> prepare(const std::string& in, const std::string& out,
                       const ConvertProgress& progress) {
  DUNLIN_ASSIGN_OR_RETURN(const auto checkpoint, open_checkpoint(in));
  DUNLIN_ASSIGN_OR_RETURN(const Program program, record_model(checkpoint->config(), {}));
  const WeightSource weights = [&](const std::string& name) { return checkpoint->weight(name); };
  const auto backend = make_cpu_backend();
  DUNLIN_ASSIGN_OR_RETURN(const auto packer, backend->packer(program, weights, {.threads = 2}));
  const PreparedSettings settings = {.packing = backend->packing(), .file_bytes = 100'000};
  return write_prepared(*checkpoint, *packer, settings, out, progress);
}

// In a file for each of four shards.
Result<size_t> shard(const std::string& in, const std::string& out,
                     const ConvertProgress& progress) {
  DUNLIN_ASSIGN_OR_RETURN(const auto checkpoint, open_checkpoint(in));
  DUNLIN_ASSIGN_OR_RETURN(const Program program, record_model(checkpoint->config(), {}));
  DUNLIN_ASSIGN_OR_RETURN(const auto packer,
                          ShardPacker::create(*checkpoint, program, {.fsdp = 2, .model = 2}));
  return write_shards(*checkpoint, *packer, out, progress);
}

const Kind kKinds[] = {
    {"Gguf", "out.gguf", 21,
     [](const std::string& in, const std::string& out, const ConvertProgress& progress) {
       return quantize(in, out, "Q8_0", progress);
     }},
    {"Directory", "out", 21, shards},
    {"EightBits", "out", 35, eight_bits},
    {"Prepared", "out", 21, prepare},
    {"Shards", "out", 88, shard},
};

class Interrupted : public testing::TestWithParam<Kind> {
 protected:
  void SetUp() override {
    set_warning_sink([](const std::string&) {});  // the model has no tokenizer
    fs::copy_file(test_data("data/llama_plain/model.gguf"), in_);
    fs::create_directory(work_);
    ASSERT_TRUE(write().ok());
    whole_ = files();
    clear();
  }

  Result<size_t> write(const ConvertProgress& progress = nothing) const {
    return GetParam().write(in_, out_, progress);
  }
  // Ends after about half of the tensors.
  Result<size_t> write_half() const {
    return write([](uint64_t done, uint64_t total) -> Result<void> {
      return done > total / 2 ? Result<void>(runtime_error("stop")) : Result<void>();
    });
  }
  // Below work/.
  Files files() const {
    Files found;
    for (const auto& entry : fs::recursive_directory_iterator(work_))
      if (entry.is_regular_file())
        found[fs::relative(entry.path(), folder_.path()).string()] =
            content_of(entry.path().string());
    return found;
  }
  // What marks unfinished output is removed after the output has its name.
  Files files_of_model() const {
    Files found = files();
    std::erase_if(found, [](const auto& file) {
      return file.first.ends_with("unfinished") || file.first.ends_with(".parts");
    });
    return found;
  }
  void clear() const {
    fs::remove_all(work_);
    fs::create_directory(work_);
  }
  bool is_out_absent() const { return !fs::exists(out_); }
  // The next run ends well, whatever has been left.
  void expect_next_run_to_finish(const std::string& what) const {
    const auto done = write();
    ASSERT_TRUE(done.ok()) << what << ": " << done.error().message;
    EXPECT_TRUE(files() == whole_) << what;
    clear();
  }
  // Nothing of what is there can be taken for a model.
  void expect_no_model(const std::string& what) const {
    EXPECT_FALSE(open_checkpoint(out_).ok()) << what;
    EXPECT_FALSE(open_checkpoint(out_ + ".tmp").ok()) << what;
    EXPECT_FALSE(open_checkpoint(out_ + ".tmp/config.json").ok()) << what;
  }
  // A sample of the calls, or all of them.
  static int64_t stride() { return std::getenv("DUNLIN_EXHAUSTIVE") == nullptr ? 5 : 1; }
  int64_t calls() const {
    const FaultyDisk disk;
    EXPECT_TRUE(write().ok());
    const int64_t count = disk.calls();
    clear();
    return count;
  }

  TemporaryFolder folder_;
  const std::string in_ = folder_.file("in.gguf");
  const std::string work_ = folder_.file("work");
  const std::string out_ = work_ + "/" + GetParam().out;
  Files whole_;
};

TEST_P(Interrupted, KilledInAnyCallThenFinished) {
  const int64_t count = calls();
  ASSERT_GT(count, 40);
  for (int64_t call = 0; call < count; call += stride()) {
    const std::string what = fmt::format("call {} of {}", call, count);
    ASSERT_EQ(run_killed_at(call, [this] { return write().ok(); }), Ended::killed) << what;
    if (is_out_absent()) {
      expect_no_model(what);
    } else {
      EXPECT_TRUE(open_checkpoint(out_).ok()) << what;
      EXPECT_TRUE(files_of_model() == whole_) << what;
      clear();
    }
    expect_next_run_to_finish(what);
  }
}

TEST_P(Interrupted, AnyCallThatFailsIsAnErrorOrWithoutEffect) {
  const int64_t count = calls();
  for (int64_t call = 0; call < count; call += stride()) {
    const std::string what = fmt::format("call {} of {}", call, count);
    const auto done = [&] {
      const FaultyDisk disk({.fail_at = call});
      return write();
    }();
    if (done.ok()) {
      EXPECT_TRUE(files_of_model() == whole_) << what;
      clear();
      continue;
    }
    EXPECT_EQ(done.error().kind, ErrorKind::runtime) << what;
    EXPECT_THAT(done.error().message, StartsWith(out_)) << what;
    EXPECT_THAT(done.error().message, HasSubstr("Input/output error")) << what;
    EXPECT_TRUE(is_out_absent()) << what;
    expect_no_model(what);
    if (!done.error().message.ends_with("goes on from there")) {
      EXPECT_THAT(files(), IsEmpty()) << what;
    }
    expect_next_run_to_finish(what);
  }
}

TEST_P(Interrupted, AFullDiskIsAnErrorThatSaysWhatStays) {
  int64_t bytes = 0;
  for (const auto& [path, content] : whole_) bytes += std::ssize(content);
  size_t most = 0;
  for (int64_t room = 0; room < bytes; room += bytes / 29) {
    const std::string what = fmt::format("{} of {} bytes", room, bytes);
    const auto done = [&] {
      const FaultyDisk disk({.room = room});
      return write();
    }();
    ASSERT_FALSE(done.ok()) << what;
    EXPECT_THAT(done.error().message, StartsWith(out_)) << what;
    EXPECT_THAT(done.error().message, HasSubstr("No space left on device")) << what;
    EXPECT_TRUE(is_out_absent());
    const bool stays = done.error().message.ends_with(
        fmt::format("; {}.tmp holds what is done, and the same command goes on from there", out_));
    EXPECT_EQ(files().empty(), !stays) << what << ": " << done.error().message;
    const auto again = write();
    ASSERT_TRUE(again.ok()) << what << ": " << again.error().message;
    EXPECT_GE(*again, most);
    most = *again;
    EXPECT_TRUE(files() == whole_) << what;
    clear();
  }
  EXPECT_GT(most, GetParam().tensors / 2);
}

TEST_P(Interrupted, TooLittleSpaceIsToldBeforeTheWork) {
  const auto with_free = [this](int64_t bytes) {
    const FaultyDisk disk({.free_bytes = bytes});
    return write();
  };
  const auto refused = with_free(1000);
  ASSERT_FALSE(refused.ok());
  EXPECT_EQ(refused.error().kind, ErrorKind::does_not_fit);
  EXPECT_THAT(refused.error().message, StartsWith(out_ + ": 0."));
  EXPECT_THAT(refused.error().message,
              HasSubstr(" MB are still to be written, but the disk has 0.0 MB free: 0."));
  EXPECT_THAT(files(), IsEmpty());
  // What is there already needs no room, and stays.
  ASSERT_FALSE(write_half().ok());
  const Files half = files();
  EXPECT_FALSE(with_free(1000).ok());
  EXPECT_TRUE(files() == half);
  int64_t bytes = 0;
  for (const auto& [path, content] : whole_) bytes += std::ssize(content);
  const auto done = with_free(bytes * 2 / 3);
  ASSERT_TRUE(done.ok()) << done.error().message;
  EXPECT_TRUE(files() == whole_);
}

TEST_P(Interrupted, GoesOnAfterTheLastWholeTensor) {
  const auto stopped = write_half();
  ASSERT_FALSE(stopped.ok());
  EXPECT_EQ(stopped.error().message,
            fmt::format("stop; {0}.tmp holds what is done, and the same command goes on from there",
                        out_));
  uint64_t first = 0;
  const auto done = write([&first](uint64_t bytes, uint64_t total) -> Result<void> {
    if (first == 0) first = bytes;
    EXPECT_LE(bytes, total);
    return {};
  });
  ASSERT_TRUE(done.ok()) << done.error().message;
  EXPECT_GT(*done, 2u);
  EXPECT_LT(*done, GetParam().tensors);
  EXPECT_TRUE(files() == whole_);
}

TEST_P(Interrupted, AnotherInputBeginsAnew) {
  ASSERT_FALSE(write_half().ok());
  fs::last_write_time(in_, fs::last_write_time(in_) + std::chrono::seconds(1));
  EXPECT_EQ(write().value(), 0u);
  EXPECT_TRUE(files() == whole_);
}

// Of a prepared directory whole files stay, and nothing of the one that is not.
using InterruptedParts = Interrupted;

TEST_P(InterruptedParts, DamageOfWhatIsLeftIsFound) {
  ASSERT_FALSE(write_half().ok());
  const size_t intact = write().value();
  clear();
  ASSERT_FALSE(write_half().ok());
  for (const auto& entry : fs::recursive_directory_iterator(work_)) {
    if (!entry.path().string().ends_with(".gguf.tmp") &&
        !entry.path().string().ends_with(".safetensors.tmp"))
      continue;
    std::string content = content_of(entry.path().string());
    content[content.size() / 2] = static_cast<char>(content[content.size() / 2] ^ 1);
    std::ofstream(entry.path(), std::ios::binary) << content;
  }
  EXPECT_LT(write().value(), intact);
  EXPECT_TRUE(files() == whole_);
}

TEST_P(InterruptedParts, AListThatIsCutOrLiesIsNoHarm) {
  ASSERT_FALSE(write_half().ok());
  std::string path;
  for (const auto& entry : fs::recursive_directory_iterator(work_))
    if (entry.path().extension() == ".parts") path = entry.path().string();
  ASSERT_FALSE(path.empty());
  const Files half = files();
  const std::string list = content_of(path);
  for (size_t length = 0; length < list.size(); length += 13) {
    clear();
    for (const auto& [name, content] : half) {
      fs::create_directories(fs::path(folder_.file(name)).parent_path());
      std::ofstream(folder_.file(name), std::ios::binary) << content;
    }
    std::ofstream(path, std::ios::binary | std::ios::trunc) << list.substr(0, length);
    const auto done = write();
    ASSERT_TRUE(done.ok()) << length << ": " << done.error().message;
    EXPECT_TRUE(files() == whole_) << length;
  }
}

TEST_P(Interrupted, OnlyOneRunWritesAtATime) {
  std::string message;
  const auto done = write([&](uint64_t, uint64_t) -> Result<void> {
    if (message.empty()) message = write().error().message;
    return {};
  });
  ASSERT_TRUE(done.ok()) << done.error().message;
  EXPECT_EQ(message, out_ + ": another process is writing it");
  EXPECT_TRUE(files() == whole_);
}

INSTANTIATE_TEST_SUITE_P(Outputs, Interrupted, testing::ValuesIn(kKinds),
                         [](const auto& param) { return std::string(param.param.name); });

INSTANTIATE_TEST_SUITE_P(Outputs, InterruptedParts, testing::ValuesIn(kKinds, kKinds + 2),
                         [](const auto& param) { return std::string(param.param.name); });

class InterruptedSettings : public testing::Test {};

TEST_F(InterruptedSettings, AnotherTypeBeginsAnewAndRemovesTheOld) {
  set_warning_sink([](const std::string&) {});
  const TemporaryFolder folder;
  const std::string in = test_data("data/llama_plain/model.gguf");
  const std::string out = folder.file("out.gguf");
  ASSERT_TRUE(quantize(in, out, "Q4_0", nothing).ok());
  const std::string whole = content_of(out);
  fs::remove(out);
  const auto stop = [](uint64_t done, uint64_t total) -> Result<void> {
    return done > total / 2 ? Result<void>(runtime_error("stop")) : Result<void>();
  };
  ASSERT_FALSE(quantize(in, out, "Q8_0", stop).ok());
  EXPECT_EQ(quantize(in, out, "Q4_0", nothing).value(), 0u);
  EXPECT_TRUE(content_of(out) == whole);
  EXPECT_EQ(std::distance(fs::directory_iterator(folder.path()), fs::directory_iterator()), 1);
  // An error that the same run would meet again leaves nothing.
  fs::remove(out);
  const auto refuse = [](uint64_t done, uint64_t total) -> Result<void> {
    return done > total / 2 ? Result<void>(model_error("no")) : Result<void>();
  };
  EXPECT_EQ(quantize(in, out, "Q4_0", refuse).error().message, "no");
  EXPECT_TRUE(fs::is_empty(folder.path()));
}

}  // namespace
}  // namespace dunlin
