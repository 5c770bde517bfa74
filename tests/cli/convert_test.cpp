// `dunlin convert` as a process.
#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdint>
#include <filesystem>

#include "error_cases.h"
#include "process.h"
#include "support/temporary_folder.h"
#include "support/text_model_folder.h"

namespace dunlin {
namespace {

namespace fs = std::filesystem;
using testing::HasSubstr;
using testing::StartsWith;

class ConvertCommand : public testing::Test {
 protected:
  void SetUp() override { write_text_model(model_.path()); }

  static ProcessResult convert(const std::vector<std::string>& arguments) {
    std::vector<std::string> all = {"convert"};
    all.insert(all.end(), arguments.begin(), arguments.end());
    return run_dunlin(all);
  }
  static nlohmann::json answer(const std::string& model) {
    const ProcessResult result =
        run_dunlin({"run", model, "Hello world", "-n", "12", "--temp", "0", "--json"});
    EXPECT_EQ(result.code, 0) << result.err;
    auto json = result.json();
    for (const char* key : {"timings", "backend", "seed"}) json.erase(key);
    return json;
  }

  static size_t files_named(const std::string& folder, const std::string& beginning) {
    size_t count = 0;
    for (const auto& entry : fs::directory_iterator(folder))
      count += entry.path().filename().string().starts_with(beginning);
    return count;
  }

  TemporaryFolder model_, folder_;
  std::string gguf_ = folder_.file("model.gguf");
  std::string back_ = folder_.file("back");
};

TEST_F(ConvertCommand, ThereAndBackAnswersTheSame) {
  const auto wanted = answer(model_.path());
  ASSERT_TRUE(wanted.contains("ids"));
  ASSERT_EQ(convert({model_.path(), gguf_}).code, 0);
  EXPECT_EQ(answer(gguf_), wanted);
  const ProcessResult back = convert({gguf_, back_, "--max-shard-size", "100KB"});
  ASSERT_EQ(back.code, 0) << back.err;
  EXPECT_EQ(answer(back_), wanted);
  EXPECT_TRUE(fs::exists(back_ + "/model.safetensors.index.json"));
  EXPECT_EQ(run_dunlin({"inspect", back_, "--template"}).out,
            run_dunlin({"inspect", model_.path(), "--template"}).out);
  // And once more: a directory that was written is read like any other.
  const std::string again = folder_.file("again.gguf");
  ASSERT_EQ(convert({back_, again}).code, 0);
  EXPECT_EQ(answer(again), wanted);
}

TEST_F(ConvertCommand, TypesAndSizesAreTold) {
  for (const auto& [type, bits] :
       {std::pair("f32", 32), std::pair("f16", 16), std::pair("bf16", 16)}) {
    const ProcessResult result =
        convert({model_.path(), gguf_, "--outtype", type, "-t", "2", "--json"});
    ASSERT_EQ(result.code, 0) << result.err;
    EXPECT_THAT(result.out, StartsWith("{\"schema_version\":1,"));
    const auto inspected = run_dunlin({"inspect", gguf_, "--json"}).json();
    EXPECT_EQ(result.json()["output_bytes"], inspected["bytes"]);
    for (const auto& tensor : inspected["tensors"]) {
      const uint64_t elements = tensor["bytes"].get<uint64_t>() * 8;
      const bool vector = tensor["shape"].size() == 1;
      uint64_t expected = vector ? 32 : static_cast<uint64_t>(bits);
      for (const auto& extent : tensor["shape"]) expected *= extent.get<uint64_t>();
      EXPECT_EQ(elements, expected) << tensor;
    }
  }
  const ProcessResult text = convert({model_.path(), gguf_});
  EXPECT_THAT(text.out, testing::ContainsRegex("in +.* +0\\.[0-9] +32\\.00\n"));
  EXPECT_THAT(text.err, HasSubstr("21 tensors in "));
}

TEST_F(ConvertCommand, APreparedDirectoryIsAModelEverywhere) {
  ASSERT_EQ(convert({model_.path(), gguf_}).code, 0);
  for (const std::string& in : {model_.path(), gguf_}) {
    const std::string prepared = folder_.file(in == gguf_ ? "from_gguf" : "from_directory");
    const ProcessResult made =
        convert({in, prepared, "--to", "prepared", "--max-shard-size", "100KB", "--json"});
    ASSERT_EQ(made.code, 0) << made.err;
    EXPECT_GT(made.json()["output_bytes"], 100'000);
    const size_t parts = files_named(prepared, "weights-");
    EXPECT_GT(parts, 3u);
    const std::string weights_file =
        fmt::format("{}/weights-00002-of-{:05}.dunlin", prepared, parts);
    EXPECT_EQ(answer(prepared), answer(in));
    for (const std::vector<std::string>& arguments :
         {std::vector<std::string>{"tokenize", "", "Hello world, 123", "--ids"},
          {"inspect", "", "--template"},
          {"inspect", "", "--program"},
          {"run", "", "--precision", "exact", "-n", "8", "--temp", "0", "Hello", "-q"},
          {"run", "", "--layers", "1", "-n", "8", "--temp", "0", "Hello", "-q"}}) {
      const auto output = [&arguments](const std::string& model) {
        std::vector<std::string> words = arguments;
        words[1] = model;
        const ProcessResult result = run_dunlin(words);
        EXPECT_EQ(result.code, 0) << result.err;
        return result.out;
      };
      EXPECT_EQ(output(prepared), output(in)) << arguments[0];
    }
    const auto inspected = run_dunlin({"inspect", prepared, "--json"}).json();
    EXPECT_EQ(inspected["container"], "prepared");
    EXPECT_EQ(inspected["prepared"]["source"], in);
    EXPECT_EQ(inspected["prepared"]["precision"], "auto");
    EXPECT_EQ(inspected["prepared"]["mesh"], "data=1");
    const ProcessResult sums = run_dunlin({"inspect", prepared, "--verify"});
    EXPECT_EQ(sums.code, 0) << sums.err;
    EXPECT_EQ(sums.out, prepared + ": all checksums agree\n");
    const auto weights_of = [](const std::string& model) {
      const auto plan = run_dunlin({"plan", model, "-c", "64", "--json"}).json();
      return plan["per_device"]["weights_bytes"];
    };
    EXPECT_EQ(weights_of(prepared), weights_of(in));
    std::string weights = read_all(weights_file);
    weights[5000] = static_cast<char>(weights[5000] ^ 1);
    write_all(weights_file, weights);
    const ProcessResult damaged = run_dunlin({"inspect", prepared, "--verify"});
    EXPECT_EQ(damaged.code, 3);
    EXPECT_THAT(damaged.err, HasSubstr(weights_file + ": damaged"));
  }
  EXPECT_EQ(run_dunlin({"inspect", gguf_, "--verify"}).code, 2);
  const ProcessResult other =
      run_dunlin({"run", folder_.file("from_gguf"), "Hello", "-n", "2", "--backend", "reference"});
  EXPECT_EQ(other.code, 3);
  EXPECT_THAT(other.err, HasSubstr("use the model it was made from, " + gguf_));
}

// What could not be loaded is not written.
TEST_F(ConvertCommand, AListOfLayersThatIsTooShortIsNotConverted) {
  const std::string model = folder_.file("mixture");
  fs::copy(test_data("data/gpt_oss_bf16/model"), model);
  auto config = nlohmann::json::parse(read_all(model + "/config.json"));
  config["layer_types"].erase(1);
  write_all(model + "/config.json", config.dump());
  const std::string message = "layer_types is not a list of 2 names, one for each layer";
  const ErrorCase converted[] = {{{model, gguf_}, 3, message},
                                 {{model, back_, "--to", "prepared"}, 3, message}};
  expect_errors("convert", converted, folder_);
  const ErrorCase quantised[] = {{{model, gguf_, "Q8_0"}, 3, message}};
  expect_errors("quantize", quantised, folder_);
}

TEST_F(ConvertCommand, BadInputIsNamed) {
  ASSERT_EQ(convert({model_.path(), gguf_, "-q"}).code, 0);
  const std::string small = folder_.file("small.gguf");
  ASSERT_EQ(run_dunlin({"quantize", gguf_, small, "Q8_0", "-q"}).code, 0);
  const std::string prepared = folder_.file("prepared");
  ASSERT_EQ(convert({gguf_, prepared, "--to", "prepared", "-q"}).code, 0);
  const std::string pickles = folder_.file("pickles");
  fs::create_directory(pickles);
  write_all(pickles + "/pytorch_model.bin", "PK");
  const ErrorCase cases[] = {
      {{gguf_, folder_.file("b.gguf")}, 2, "is a GGUF file already; `dunlin quantize "},
      {{model_.path(), back_}, 2, "must end in .gguf"},
      {{gguf_, folder_.file("b"), "--to", "gguf"}, 2, "is a GGUF file already"},
      {{model_.path(), folder_.file("b.gguf"), "--to", "hf"},
       2,
       "is a Hugging Face directory already"},
      {{gguf_, back_, "--to", "onnx"}, 2, "onnx"},
      {{gguf_, back_, "--to", "prepared", "--mesh", "model=2", "--precision", "f32"},
       2,
       "--mesh model=2: weights stay in the formats of the model"},
      {{gguf_, back_, "--to", "prepared", "--mesh", "model=2", "--max-shard-size", "1GB"},
       2,
       "in one file for each shard; leave out --max-shard-size"},
      {{gguf_, back_, "--to", "prepared", "--mesh", "fsdp=7"}, 2, "cannot share evenly"},
      {{gguf_, back_, "--to", "prepared", "--mesh", "stage=64"}, 2, "cannot fill 64 stages"},
      {{small, back_, "--to", "prepared", "--mesh", "fsdp=4"}, 2, "in blocks of 32 columns"},
      {{gguf_, back_, "--to", "prepared", "--mesh", "rows=2"}, 2, "rows"},
      {{gguf_, back_, "--to", "prepared", "--outtype", "f16"},
       2,
       "--outtype: a prepared directory"},
      {{gguf_, back_, "--precision", "f32"}, 2, "--precision requires --to"},
      {{gguf_, back_, "--to", "hf", "--precision", "f32"}, 2, "are for --to prepared"},
      {{gguf_, pickles, "--to", "prepared"}, 2, "pickles: is there already"},
      {{prepared, back_}, 2, "is a prepared directory, whose weights cannot be read back"},
      {{prepared, back_, "--to", "prepared"}, 2, "take the model it was made from"},
      {{small, back_}, 2, "is in Q8_0, which safetensors cannot hold; --outtype"},
      {{gguf_, pickles}, 2, "pickles: is there already"},
      {{gguf_, back_, "--max-shard-size", "5 GB"}, 2, "--max-shard-size: \"5 GB\""},
      {{gguf_, back_, "--max-shard-size", "0GB"}, 2, "--max-shard-size: \"0GB\""},
      {{gguf_, back_, "--max-shard-size", "GB"}, 2, "--max-shard-size: \"GB\""},
      {{gguf_, back_, "--outtype", "q8_0"}, 2, "q8_0"},
      {{gguf_, folder_.file("none/back")}, 1, "No such file"},
      {{pickles, folder_.file("b.gguf")}, 3, "pickled weights are not read"},
      {{folder_.file("missing"), folder_.file("b.gguf")}, 3, "missing"},
      {{gguf_}, 2, "out"},
      {{gguf_, ""}, 2, "the text is empty"},
  };
  expect_errors("convert", cases, folder_);
}

}  // namespace
}  // namespace dunlin
