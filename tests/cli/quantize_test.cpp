// `dunlin quantize` as a process.
#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdint>
#include <filesystem>
#include <map>

#include "error_cases.h"
#include "process.h"
#include "support/temporary_folder.h"
#include "support/text_model_folder.h"

namespace dunlin {
namespace {

namespace fs = std::filesystem;
using testing::HasSubstr;
using testing::StartsWith;

const char* const kTypes[] = {"F32",    "F16",    "BF16",   "Q8_0",   "Q6_K",   "Q5_0",
                              "Q5_1",   "Q5_K",   "Q5_K_S", "Q5_K_M", "Q4_0",   "Q4_1",
                              "Q4_K",   "Q4_K_S", "Q4_K_M", "Q3_K",   "Q3_K_S", "Q3_K_M",
                              "Q3_K_L", "Q2_K",   "MXFP4",  "COPY"};

class QuantizeCommand : public testing::Test {
 protected:
  ProcessResult quantize(const std::vector<std::string>& arguments) const {
    std::vector<std::string> all = {"quantize"};
    all.insert(all.end(), arguments.begin(), arguments.end());
    return run_dunlin(all);
  }
  // The first tokens after a prompt of ids.
  static nlohmann::json ids(const std::string& model, const std::vector<std::string>& more = {},
                            const char* precision = "f32") {
    std::vector<std::string> all = {"run",          model,         "--prompt-ids", "1,5,9,20,33,7",
                                    "-n",           "12",          "--temp",       "0",
                                    "--ignore-eos", "--precision", precision,      "--json"};
    all.insert(all.end(), more.begin(), more.end());
    const ProcessResult result = run_dunlin(all);
    EXPECT_EQ(result.code, 0) << result.err;
    return result.json()["ids"];
  }
  static std::map<std::string, std::string> formats(const std::string& model) {
    std::map<std::string, std::string> formats;
    const auto inspected = run_dunlin({"inspect", model, "--json"}).json();
    for (const auto& tensor : inspected["tensors"]) formats[tensor["name"]] = tensor["format"];
    return formats;
  }
  size_t files() const {
    return static_cast<size_t>(
        std::distance(fs::directory_iterator(folder_.path()), fs::directory_iterator()));
  }

  TemporaryFolder folder_;
  std::string directory_ = test_data("data/llama_plain/model");
  std::string gguf_ = test_data("data/llama_plain/model.gguf");
  std::string out_ = folder_.file("out.gguf");
};

// Both containers hold the same weights: quantised alike they answer alike.
TEST_F(QuantizeCommand, EveryTypeRunsAndBothContainersGiveTheSameIds) {
  for (const char* type : kTypes) {
    const ProcessResult from_directory = quantize({directory_, out_, type});
    ASSERT_EQ(from_directory.code, 0) << type << '\n' << from_directory.err;
    const auto wanted = ids(out_);
    EXPECT_EQ(wanted.size(), 12u) << type;
    const uint64_t size = fs::file_size(out_);
    const ProcessResult from_gguf = quantize({gguf_, out_, type});
    ASSERT_EQ(from_gguf.code, 0) << type << '\n' << from_gguf.err;
    EXPECT_EQ(ids(out_), wanted) << type;
    EXPECT_NEAR(static_cast<double>(fs::file_size(out_)), static_cast<double>(size), 1024.0);
  }
  EXPECT_EQ(files(), 1u);
}

const char* const kScaledTypes[] = {"I8", "F8_E4M3", "F8_E4M3_B128", "F8_E5M2"};

// Types without a form in GGUF files.
TEST_F(QuantizeCommand, ScaledTypesBecomeDirectories) {
  const std::string out = folder_.file("out");
  for (const char* type : kScaledTypes) {
    const ProcessResult from_directory = quantize({directory_, out, type});
    ASSERT_EQ(from_directory.code, 0) << type << '\n' << from_directory.err;
    const bool block = std::string_view(type) == "F8_E4M3_B128";
    auto written = formats(out);
    EXPECT_EQ(written["model.layers.1.mlp.up_proj.weight"], block ? "F8_E4M3" : type);
    EXPECT_EQ(written["model.layers.1.mlp.up_proj.weight_scale" + std::string(block ? "_inv" : "")],
              "F32");
    EXPECT_EQ(written["lm_head.weight"], "F32");
    const auto wanted = ids(out);
    EXPECT_EQ(wanted.size(), 12u) << type;
    fs::remove_all(out);
    ASSERT_EQ(quantize({gguf_, out, type}).code, 0) << type;
    EXPECT_EQ(ids(out), wanted) << type;
    fs::remove_all(out);
    EXPECT_EQ(files(), 0u);
  }
}

TEST_F(QuantizeCommand, OnLoadAnswersAsTheFileDoes) {
  for (const char* type : {"Q4_0", "Q4_K_M", "q8_0", "BF16", "I8", "FP8"}) {
    const std::string out =
        folder_.file(std::string(type) == "I8" || std::string(type) == "FP8" ? "out" : "out.gguf");
    ASSERT_EQ(quantize({directory_, out, type}).code, 0) << type;
    for (const char* precision : {"auto", "f32"}) {
      const auto wanted = ids(out, {}, precision);
      EXPECT_EQ(ids(directory_, {"--quantize", type}, precision), wanted) << type;
      EXPECT_EQ(ids(gguf_, {"--quantize", type}, precision), wanted) << type;
    }
    fs::remove_all(out);
  }
}

TEST_F(QuantizeCommand, OnLoadIsSaidAndCompared) {
  const ProcessResult run =
      run_dunlin({"run", gguf_, "--prompt-ids", "1,5", "-n", "2", "--quantize", "Q8_0"});
  ASSERT_EQ(run.code, 0) << run.err;
  EXPECT_THAT(run.err, HasSubstr("Q8_0 (16), F32 (5), 0.1 MB, encoded while loading"));
  const ProcessResult verify =
      run_dunlin({"verify", directory_, "--ref", test_data("data/llama_plain/golden.safetensors"),
                  "--quantize", "Q4_0"});
  EXPECT_EQ(verify.code, 6);  // other weights, other values
  const ProcessResult config = run_dunlin({"run", gguf_, "--quantize", "Q4_0", "--print-config"});
  EXPECT_THAT(config.out, testing::ContainsRegex("quantize = \"Q4_0\" +# command line"));
}

TEST_F(QuantizeCommand, OnLoadErrors) {
  const std::string small = folder_.file("small.gguf");
  ASSERT_EQ(quantize({gguf_, small, "Q8_0"}).code, 0);
  const ErrorCase cases[] = {
      {{small, "--prompt-ids", "1", "--quantize", "Q4_0"}, 2, "is quantised already"},
      {{gguf_, "--prompt-ids", "1", "--quantize", "Q4_KM"}, 2, "did you mean Q4_K_M?"},
      {{gguf_, "--prompt-ids", "1", "--quantize", ""}, 2, "--quantize"},
  };
  expect_errors("run", cases, folder_);
}

TEST_F(QuantizeCommand, ADryRunOfAScaledTypeWritesNothing) {
  const auto json = quantize({gguf_, "I8", "--dry-run", "--json"}).json();
  EXPECT_EQ(files(), 0u);
  EXPECT_EQ(json["type"], "I8");
  ASSERT_EQ(quantize({gguf_, folder_.file("out"), "I8"}).code, 0);
  const auto inspected = run_dunlin({"inspect", folder_.file("out"), "--json"}).json();
  EXPECT_EQ(json["output_bytes"], inspected["bytes"]);
}

TEST_F(QuantizeCommand, LosslessTypesAnswerAsTheOriginal) {
  for (const char* type : {"F32", "COPY"}) {
    ASSERT_EQ(quantize({directory_, out_, type}).code, 0);
    EXPECT_EQ(ids(out_), ids(directory_)) << type;
  }
}

TEST_F(QuantizeCommand, JsonAndTableTellTheSizes) {
  const ProcessResult result = quantize({gguf_, out_, "q8_0", "2", "--json"});
  ASSERT_EQ(result.code, 0) << result.err;
  const auto json = result.json();
  EXPECT_THAT(result.out, StartsWith("{\"schema_version\":1,"));
  EXPECT_EQ(json["type"], "Q8_0");
  EXPECT_EQ(json["input"], gguf_);
  EXPECT_EQ(json["output"], out_);
  uint64_t in = 0;
  uint64_t out = 0;
  for (const auto& tensor : json["tensors"]) {
    in += tensor["input_bytes"].get<uint64_t>();
    out += tensor["output_bytes"].get<uint64_t>();
    const bool vector = tensor["shape"].size() == 1;
    EXPECT_EQ(tensor["to"], vector ? "F32" : "Q8_0") << tensor;
  }
  EXPECT_EQ(json["input_bytes"], in);
  EXPECT_EQ(json["output_bytes"], out);
  EXPECT_EQ(json["input_bits_per_weight"], 32.0);
  EXPECT_NEAR(json["output_bits_per_weight"].get<double>(), 8.5, 0.1);
  EXPECT_TRUE(json["fallbacks"].empty());
  const auto inspected = run_dunlin({"inspect", out_, "--json"}).json();
  EXPECT_EQ(inspected["bytes"], out);

  const ProcessResult text = quantize({gguf_, out_, "Q8_0"});
  EXPECT_THAT(text.out, testing::ContainsRegex("in +.*model.gguf +0\\.4 +32\\.00\n"));
  EXPECT_THAT(text.out, testing::ContainsRegex("out +.*out.gguf +0\\.1 +8\\.[0-9]+\n"));
  EXPECT_THAT(text.err, HasSubstr("Q8_0: 21 tensors in "));
  EXPECT_EQ(quantize({gguf_, out_, "Q8_0", "-q"}).err, "");
}

// 64 and 160 columns are no blocks of 256.
TEST_F(QuantizeCommand, FallbacksArePrinted) {
  const ProcessResult result = quantize({gguf_, out_, "Q4_K", "--json"});
  ASSERT_EQ(result.code, 0);
  EXPECT_THAT(result.err, HasSubstr("blk.1.attn_q.weight: rows of 64 are not whole blocks of 256: "
                                    "Q5_0 instead of Q4_K\n"));
  const auto json = result.json();
  EXPECT_EQ(json["type"], "Q4_K_M");
  EXPECT_EQ(json["fallbacks"].size(), 15u);  // all matrices but output.weight, which gets Q8_0
  EXPECT_EQ(json["fallbacks"][0]["wanted"], "Q4_K");
  EXPECT_EQ(json["fallbacks"][0]["used"], "Q5_0");
  EXPECT_EQ(formats(out_)["output.weight"], "Q8_0");
  EXPECT_EQ(formats(out_)["blk.1.attn_q.weight"], "Q5_0");
}

TEST_F(QuantizeCommand, FlagsChooseFormats) {
  ASSERT_EQ(quantize({gguf_, out_, "Q4_0", "--tensor-type", "ATTN_v=q8_0", "--tensor-type",
                      "blk\\.1\\.ffn=bf16", "--output-tensor-type", "f16", "--token-embedding-type",
                      "Q5_1"})
                .code,
            0);
  auto written = formats(out_);
  EXPECT_EQ(written["blk.0.attn_v.weight"], "Q8_0");
  EXPECT_EQ(written["blk.0.ffn_up.weight"], "Q4_0");
  EXPECT_EQ(written["blk.1.ffn_up.weight"], "BF16");
  EXPECT_EQ(written["blk.1.ffn_norm.weight"], "F32");
  EXPECT_EQ(written["output.weight"], "F16");
  EXPECT_EQ(written["token_embd.weight"], "Q5_1");
  ASSERT_EQ(quantize({gguf_, out_, "Q4_0", "--leave-output-tensor"}).code, 0);
  EXPECT_EQ(formats(out_)["output.weight"], "F32");
  ASSERT_EQ(quantize({gguf_, out_, "Q4_0", "--pure"}).code, 0);
  EXPECT_EQ(formats(out_)["output.weight"], "Q4_0");
  ASSERT_EQ(quantize({gguf_, out_, "Q4_0"}).code, 0);
  EXPECT_EQ(formats(out_)["output.weight"], "Q8_0");  // Q6_K in rows of 64
}

TEST_F(QuantizeCommand, QuantisedInputNeedsAFlag) {
  const std::string small = folder_.file("small.gguf");
  ASSERT_EQ(quantize({gguf_, small, "Q8_0"}).code, 0);
  for (const char* type : {"Q4_0", "F16"}) {
    const ProcessResult refused = quantize({small, out_, type});
    EXPECT_EQ(refused.code, 2);
    EXPECT_THAT(refused.err, HasSubstr("is in Q8_0 already"));
    EXPECT_THAT(refused.err, HasSubstr("--allow-requantize"));
    EXPECT_FALSE(fs::exists(out_));
  }
  EXPECT_EQ(quantize({small, out_, "Q4_0", "--allow-requantize"}).code, 0);
  EXPECT_EQ(formats(out_)["blk.0.attn_q.weight"], "Q4_0");
  EXPECT_EQ(quantize({small, out_, "Q8_0"}).code, 0);  // nothing is encoded again
  EXPECT_EQ(quantize({small, out_, "COPY"}).code, 0);
}

TEST_F(QuantizeCommand, ADryRunWritesNothing) {
  const ProcessResult result = quantize({gguf_, out_, "Q8_0", "--dry-run"});
  ASSERT_EQ(result.code, 0) << result.err;
  EXPECT_EQ(files(), 0u);
  EXPECT_THAT(result.out, testing::ContainsRegex(
                              "blk.0.attn_q.weight +\\[64, 64\\] +F32 +Q8_0 +16384 +4352\n"));
  EXPECT_THAT(result.out, testing::ContainsRegex("out +Q8_0 \\(not written\\) +0\\.1 +8\\."));
  EXPECT_EQ(quantize({"--dry-run", gguf_, "Q8_0"}).out, result.out);  // as llama-quantize takes it
  const auto json = quantize({gguf_, out_, "Q8_0", "--dry-run", "--json"}).json();
  EXPECT_TRUE(json["output"].is_null());
  ASSERT_EQ(quantize({gguf_, out_, "Q8_0"}).code, 0);
  EXPECT_EQ(json["output_bytes"], run_dunlin({"inspect", out_, "--json"}).json()["bytes"]);
}

TEST_F(QuantizeCommand, ATextModelKeepsTokenizerAndTemplate) {
  TemporaryFolder model;
  write_text_model(model.path());
  ASSERT_EQ(quantize({model.path(), out_, "BF16"}).code, 0);
  const std::string text = "Hello world, 123 \xE2\x82\xAC";
  EXPECT_EQ(run_dunlin({"tokenize", out_, text, "--ids"}).out,
            run_dunlin({"tokenize", model.path(), text, "--ids"}).out);
  EXPECT_EQ(run_dunlin({"inspect", out_, "--template"}).out,
            run_dunlin({"inspect", model.path(), "--template"}).out);
  const std::vector<std::string> more = {"Hello", "-n", "8", "--temp", "0", "--json"};
  const auto answer = [&more](const std::string& path) {
    std::vector<std::string> all = {"run", path};
    all.insert(all.end(), more.begin(), more.end());
    return run_dunlin(all).json();
  };
  const auto original = answer(model.path());
  const auto written = answer(out_);
  EXPECT_EQ(written["prompt_ids"], original["prompt_ids"]);
  EXPECT_EQ(written["ids"], original["ids"]);  // weights that BF16 holds exactly
  EXPECT_EQ(written["finish_reason"], original["finish_reason"]);
}

// The report is what eval measures.
TEST_F(QuantizeCommand, TheReportEqualsEval) {
  TemporaryFolder model;
  write_text_model(model.path());
  const std::string text = folder_.file("text.txt");
  std::string lines;
  for (int i = 0; i < 120; ++i) lines += fmt::format("Line {} says hello to the world.\n", i);
  write_all(text, lines);
  const ProcessResult result =
      quantize({model.path(), out_, "Q4_0", "--report", text, "--chunks", "2", "--json"});
  ASSERT_EQ(result.code, 0) << result.err;
  const auto report = result.json()["report"];
  const auto eval =
      run_dunlin({"eval", out_, text, "--ref", model.path(), "--chunks", "2", "--json"}).json();
  ASSERT_TRUE(eval.is_object());
  for (const char* key :
       {"perplexity", "ref_perplexity", "tokens", "kl_mean", "kl_p99", "top1_agreement"}) {
    EXPECT_EQ(report[key], eval[key]) << key;
  }
  EXPECT_GT(report["kl_mean"].get<double>(), 0.0);
  const ProcessResult shown =
      quantize({model.path(), out_, "Q8_0", "--report", text, "--chunks", "1"});
  EXPECT_THAT(shown.out, HasSubstr("\nperplexity  "));
  EXPECT_THAT(shown.out, HasSubstr("\nKL          mean 0.0"));

  const std::string brief = folder_.file("brief.txt");
  write_all(brief, "Hello");
  fs::remove(out_);
  const ProcessResult early = quantize({model.path(), out_, "Q8_0", "--report", brief});
  EXPECT_EQ(early.code, 2);
  EXPECT_THAT(early.err, HasSubstr("brief.txt"));
  EXPECT_FALSE(fs::exists(out_));
  EXPECT_EQ(quantize({gguf_, out_, "Q8_0", "--report", text}).code, 3);  // no tokenizer
  EXPECT_EQ(quantize({model.path(), out_, "Q8_0", "--chunks", "2"}).code, 2);
  EXPECT_EQ(quantize({model.path(), out_, "Q8_0", "--report", text, "--dry-run"}).code, 2);
}

TEST_F(QuantizeCommand, BadInputIsNamed) {
  const std::string pickles = folder_.file("pickles");
  fs::create_directory(pickles);
  write_all(pickles + "/pytorch_model.bin", "PK");
  const std::string text = folder_.file("text.txt");
  write_all(text, "notes of the user");
  const std::string copy = folder_.file("copy.gguf");
  fs::copy_file(gguf_, copy);
  const ErrorCase cases[] = {
      {{gguf_, out_, "Q4_L"}, 2, "Q4_L is not a type; did you mean Q4_"},
      {{gguf_, out_, "IQ2_XXS"}, 2, "the types are Q4_K_M (or Q4_K), "},
      {{gguf_, out_}, 2, "TYPE is missing: dunlin quantize IN OUT TYPE"},
      {{gguf_, "Q8_0"}, 2, "TYPE is missing"},
      {{gguf_}, 2, "out"},
      {{}, 2, "in"},
      {{gguf_, out_, "Q8_0", "many"}, 2, "many"},
      {{gguf_, out_, "Q8_0", "5000"}, 2, "5000"},
      {{gguf_, out_, "Q8_0", "--tensor-type", "attn_v"}, 2, "\"attn_v\" is not PATTERN=FORMAT"},
      {{gguf_, out_, "Q8_0", "--tensor-type", "=Q8_0"}, 2, "\"=Q8_0\" is not PATTERN=FORMAT"},
      {{gguf_, out_, "Q8_0", "--tensor-type", "attn_v=Q4_K_M"}, 2, "\"Q4_K_M\" is not one of F32"},
      {{gguf_, out_, "Q8_0", "--tensor-type", "attn_w=Q8_0"}, 2, "\"attn_w\" fits no matrix"},
      {{gguf_, out_, "Q8_0", "--tensor-type", "(=Q8_0"}, 2, "\"(\" is not a regular expression"},
      {{gguf_, out_, "Q8_0", "--output-tensor-type", "x"}, 2, "--output-tensor-type: \"x\""},
      {{gguf_, out_, "Q8_0", "--token-embedding-type", "x"}, 2, "--token-embedding-type: \"x\""},
      {{gguf_, out_, "I8"}, 2, "out.gguf: GGUF files do not have I8; OUT is the name of a new"},
      {{gguf_, out_, "Q8_0", "--tensor-type", "attn_v=I8"}, 2, "GGUF files do not have I8"},
      {{gguf_, out_, "Q8_0", "--output-tensor-type", "F8_E4M3"}, 2, "do not have F8_E4M3"},
      {{gguf_, folder_.path(), "I8"}, 2, folder_.path()},
      {{gguf_, folder_.file("new"), "I8", "--pure"}, 2, "--pure with I8"},
      {{gguf_, text, "Q8_0"}, 2, "text.txt: is there and is not a GGUF file"},
      {{copy, copy, "Q8_0"}, 2, "copy.gguf: the model is read from this file"},
      {{gguf_, folder_.path(), "Q8_0"}, 1, "is not a regular file"},
      {{gguf_, folder_.file("none/out.gguf"), "Q8_0"}, 1, "No such file"},
      {{pickles, out_, "Q8_0"}, 3, "pytorch_model.bin: pickled weights are not read"},
      {{folder_.file("missing"), out_, "Q8_0"}, 3, "missing"},
      {{text, out_, "Q8_0"}, 3, "text.txt"},
      {{gguf_, out_, "Q8_0", "--imatrix", gguf_}, 3, "this is no importance matrix"},
      {{gguf_, out_, "Q8_0", "--imatrix", text}, 3, "text.txt"},
  };
  expect_errors("quantize", cases, folder_);
}

}  // namespace
}  // namespace dunlin
