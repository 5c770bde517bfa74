// Files that are no model, or part of one, as the release binary meets them in 4 GiB of address
// space: an exit code, no signal, little memory, and a message that names the file.
#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/resource.h>

#include <filesystem>

#include "checkpoint/tiny_model.h"
#include "malformed_files.h"
#include "process.h"
#include "support/temporary_folder.h"
#include "support/text_model_folder.h"

namespace dunlin {
namespace {

namespace fs = std::filesystem;
using testing::HasSubstr;

void limit_address_space() {
  const rlimit limit = {rlim_t{4} << 30, rlim_t{4} << 30};
  ::setrlimit(RLIMIT_AS, &limit);
}

// The most memory that one of the processes that have ended has held.
int64_t peak_kilobytes_of_processes() {
  rusage usage{};
  ::getrusage(RUSAGE_CHILDREN, &usage);
  return usage.ru_maxrss;
}

// `file` is what the message must name.
void expect_survival(const std::string& model, const std::string& file, const std::string& what) {
  for (const std::vector<std::string>& arguments :
       {std::vector<std::string>{"inspect", model},
        {"run", model, "--prompt-ids", "1", "-n", "1"}}) {
    const ProcessResult result = run_dunlin(arguments, {.prepare = limit_address_space});
    // Weights of any bytes may give logits that are no numbers.
    const bool no_numbers =
        result.code == 1 && result.err.find("hold a NaN or an infinity") != std::string::npos;
    EXPECT_TRUE(no_numbers || result.code == 0 || result.code == 2 || result.code == 3)
        << arguments[0] << " " << what << ": exit code " << result.code << ", " << result.err;
    if (arguments[0] == "inspect") {
      EXPECT_NE(result.code, 2) << what << ": " << result.err;
    }
    if (result.code == 3) {
      EXPECT_THAT(result.err, HasSubstr(file)) << arguments[0] << " " << what;
    }
  }
}

class Malformed : public testing::Test {
 protected:
  void SetUp() override {
    if (DUNLIN_SANITIZED) GTEST_SKIP() << "a sanitizer needs more address space itself";
  }

  void expect_gguf(const std::string& bytes, const std::string& what) {
    const std::string file = folder_.file("model.gguf");
    write_all(file, bytes);
    expect_survival(file, file, what);
  }
  // Beside the configuration of `golden`.
  void expect_safetensors(const std::string& bytes, const std::string& golden,
                          const std::string& what) {
    fs::copy_file(golden + "/config.json", folder_.file("config.json"),
                  fs::copy_options::overwrite_existing);
    write_all(folder_.file("model.safetensors"), bytes);
    expect_survival(folder_.path(), folder_.path(), what);
  }

  const std::string golden_ = test_data("data/llama_plain/model");
  TemporaryFolder folder_;
};

// Cut in the header, at its end, and in the data; and with each of the first bytes changed, which
// are sizes.
std::vector<std::string> damaged(const std::string& whole) {
  std::vector<std::string> files;
  for (const size_t size : {size_t{0}, size_t{1}, size_t{7}, size_t{8}, size_t{23}, size_t{24},
                            size_t{100}, whole.size() / 50, whole.size() / 2, whole.size() - 1})
    files.push_back(whole.substr(0, size));
  for (size_t at = 0; at < 24; ++at) {
    files.push_back(whole);
    files.back()[at] = static_cast<char>(0xFF);
  }
  return files;
}

TEST_F(Malformed, GgufFilesOfTheFuzzer) {
  int files = 0;
  for (const auto& entry : fs::directory_iterator(test_data("fuzz/corpus/gguf"))) {
    expect_gguf(read_all(entry.path()), entry.path().filename());
    ++files;
  }
  EXPECT_GT(files, 0);
}

TEST_F(Malformed, SafetensorsFilesOfTheFuzzer) {
  int files = 0;
  for (const auto& entry : fs::directory_iterator(test_data("fuzz/corpus/safetensors"))) {
    expect_safetensors(read_all(entry.path()), golden_, entry.path().filename());
    ++files;
  }
  EXPECT_GT(files, 0);
}

TEST_F(Malformed, DamagedGgufFiles) {
  int number = 0;
  for (const std::string& bytes : damaged(read_all(golden_ + ".gguf")))
    expect_gguf(bytes, fmt::format("damage {}", number++));
}

TEST_F(Malformed, DamagedSafetensorsFiles) {
  int number = 0;
  for (const std::string& bytes : damaged(read_all(golden_ + "/model.safetensors")))
    expect_safetensors(bytes, golden_, fmt::format("damage {}", number++));
}

// One thing is wrong with each of these, and the message says what.
std::vector<MalformedFile> all_malformed_files() {
  std::vector<MalformedFile> all;
  for (const auto& files :
       {malformed_gguf_headers(), malformed_gguf_tensors(), malformed_gguf_keys(),
        files_of_other_kinds(), malformed_safetensors(), malformed_indexes(),
        malformed_configurations(), malformed_tokenizers(), malformed_templates()}) {
    all.insert(all.end(), files.begin(), files.end());
  }
  return all;
}

class OneThingWrong : public testing::TestWithParam<MalformedFile> {};

TEST_P(OneThingWrong, IsSaidWithTheFile) {
  if (DUNLIN_SANITIZED) GTEST_SKIP() << "a sanitizer needs more address space itself";
  const MalformedFile& wrong = GetParam();
  const TemporaryFolder folder;
  wrong.make(folder.path());
  const std::string model = wrong.model.empty() ? folder.path() : folder.file(wrong.model);
  std::vector<std::string> arguments = {"run", model, "-n", "1", "-q"};
  if (wrong.prompt.empty()) {
    arguments.insert(arguments.end(), {"--prompt-ids", "1"});
  } else {
    arguments.push_back(wrong.prompt);
  }
  const ProcessResult result = run_dunlin(arguments, {.prepare = limit_address_space});
  EXPECT_EQ(result.code, wrong.code) << result.err;
  EXPECT_THAT(result.err, HasSubstr("error: "));
  EXPECT_THAT(result.err, HasSubstr(wrong.file));
  EXPECT_THAT(result.err, HasSubstr(wrong.problem));
  EXPECT_EQ(result.out, "");
  EXPECT_LT(peak_kilobytes_of_processes(), 512 << 10);
}

INSTANTIATE_TEST_SUITE_P(Malformed, OneThingWrong, testing::ValuesIn(all_malformed_files()),
                         [](const auto& info) { return info.param.name; });

// What the files above are but for one thing.
TEST_F(Malformed, WithNothingWrongItIsAModel) {
  const std::string gguf = folder_.file("tiny.gguf");
  write_all(gguf, tiny_gguf().build());
  write_all(folder_.file("config.json"), tiny_config());
  write_all(folder_.file("model.safetensors"), safetensors_file(tiny_tensors(false, false)));
  TemporaryFolder text;
  write_text_model(text.path());
  for (const std::vector<std::string>& arguments :
       {std::vector<std::string>{"inspect", gguf},
        {"inspect", folder_.path()},
        {"run", text.path(), "Hello", "-n", "1", "-q"}}) {
    const ProcessResult result = run_dunlin(arguments, {.prepare = limit_address_space});
    EXPECT_EQ(result.code, 0) << arguments[0] << ": " << result.err;
  }
}

}  // namespace
}  // namespace dunlin
