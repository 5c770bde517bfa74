// `dunlin inspect`, `tokenize`, `bench`, `devices`, `version`, `help` and usage errors as
// processes.
#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cctype>
#include <cstring>
#include <filesystem>
#include <utility>

#include "base/cpu_features.h"
#include "planner/cpu_rates.h"
#include "process.h"
#include "support/text_model_folder.h"

namespace dunlin {
namespace {

using testing::HasSubstr;
using testing::StartsWith;
using Ids = std::vector<int32_t>;

TEST(Usage, UnknownFlagsAndCommandsNameTheNearest) {
  const std::vector<std::pair<std::vector<std::string>, std::string>> cases = {
      {{"run", "m", "--max-tokns", "3"}, "--max-tokns is not a flag; did you mean --max-tokens?"},
      {{"run", "m", "--temprature=1"}, "did you mean --temperature?"},
      {{"run", "m", "-x", "3"}, "-x is not a flag"},
      // Letters after one dash are one name, not a flag with its value.
      {{"run", "m", "-nq", "3"}, "-nq is not a flag"},
      {{"run", "m", "-fast"}, "-fast is not a flag"},
      {{"run", "m", "-vv"}, "-vv is not a flag; did you mean -v?"},
      {{"run", "m", "-npp", "2"}, "-npp is not a flag; did you mean -np?"},
      {{"run", "m", "-lv", "1"}, "-lv is not a flag; use -v for more"},
      {{"verify", "m", "--ref", "r", "-ngl", "99"}, "-ngl is not a flag; use --backend pjrt"},
      {{"chat", "m", "--sytem-prompt", "x"}, "did you mean --system-prompt?"},
      {{"bench", "model", "m", "--repetition", "3"}, "did you mean --repetitions?"},
      {{"chatt", "m"}, "chatt is not a command; did you mean chat?"},
      {{"bench", "modell"}, "modell is not a command; did you mean model?"},
      {{"help", "runn"}, "runn is not a command; did you mean run?"},
      {{"run", "m", "--zzzzzzzzzzzzzzzzzzzz"}, "--zzzzzzzzzzzzzzzzzzzz is not a flag\n"},
      {{"run"}, "model"},
      {{}, "a command is missing"},
  };
  for (const auto& [arguments, message] : cases) {
    const ProcessResult result = run_dunlin(arguments);
    EXPECT_EQ(result.code, 2) << fmt::format("{}", fmt::join(arguments, " "));
    EXPECT_THAT(result.err, HasSubstr(message));
    EXPECT_EQ(result.out, "");
  }
}

TEST(Usage, ShortFlagsTakeTheirValueInEveryForm) {
  const std::string model = test_data("data/llama_plain/model");
  for (const std::vector<std::string>& four :
       {std::vector<std::string>{"-n", "4"}, {"-n4"}, {"-np", "2", "-n4"}, {"-np=2", "-n4"}}) {
    std::vector<std::string> arguments = {"run", model,          "--prompt-ids",
                                          "3",   "--ignore-eos", "--json"};
    arguments.insert(arguments.end(), four.begin(), four.end());
    const ProcessResult result = run_dunlin(arguments);
    ASSERT_EQ(result.code, 0) << result.err;
    EXPECT_EQ(result.json()["ids"].size(), 4u);
  }
  // The value of a flag is no flag, nor is what follows two dashes.
  for (const std::vector<std::string>& prompt :
       {std::vector<std::string>{"-p", "-np"}, {"-p", "-ngl"}, {"--", "-np"}, {"--", "-ngl"}}) {
    const TemporaryFolder folder;
    write_text_model(folder.path());
    std::vector<std::string> arguments = {"run", folder.path(), "-n", "1", "--raw", "--json"};
    arguments.insert(arguments.end(), prompt.begin(), prompt.end());
    const ProcessResult result = run_dunlin(arguments);
    ASSERT_EQ(result.code, 0) << result.err;
    const ProcessResult ids = run_dunlin({"tokenize", folder.path(), "--ids", "--", prompt[1]});
    EXPECT_EQ(result.json()["prompt_ids"], ids.json()) << prompt[1];
  }
}

TEST(Usage, FlagsOfLlamaCppWithoutAMeaningHereAreTakenWithAWarning) {
  const std::string model = test_data("data/llama_plain/model");
  const ProcessResult run = run_dunlin(
      {"run", model, "--prompt-ids", "3", "-n", "1", "-ngl", "99", "-fa", "on", "--jinja", "-q"});
  ASSERT_EQ(run.code, 0) << run.err;
  EXPECT_THAT(run.err, StartsWith("warning: --gpu-layers (-ngl) has no effect: "));
  EXPECT_THAT(run.err, HasSubstr("\nwarning: --flash-attn (-fa) has no effect: "));
  const ProcessResult bench = run_dunlin(
      {"bench", "model", model, "-p", "4", "-n", "0", "-r", "1", "-ngl", "0,99", "-fa", "0,1"});
  ASSERT_EQ(bench.code, 0) << bench.err;
  EXPECT_THAT(bench.err, HasSubstr("--gpu-layers (-ngl) has no effect"));
  EXPECT_EQ(run_dunlin({"run", model, "--prompt-ids", "3", "-ngl", "many"}).code, 2);
  EXPECT_EQ(run_dunlin({"run", model, "--prompt-ids", "3", "-fa", "-n"}).code, 2);
}

TEST(Help, ListsEveryCommandAndShowsExamples) {
  const ProcessResult list = run_dunlin({"help"});
  EXPECT_EQ(list.code, 0);
  for (const char* name :
       {"run", "chat", "inspect", "tokenize", "detokenize", "verify", "bench", "eval", "convert",
        "quantize", "imatrix", "pull", "compile", "devices", "completion", "version", "help"}) {
    EXPECT_THAT(list.out, HasSubstr(fmt::format("\n  {} ", name)));
  }
  for (const char* name :
       {"run", "chat", "inspect", "tokenize", "detokenize", "verify", "eval", "convert", "quantize",
        "imatrix", "pull", "compile", "devices", "completion", "version", "help"}) {
    const ProcessResult help = run_dunlin({"help", name});
    EXPECT_EQ(help.code, 0);
    EXPECT_THAT(help.out, HasSubstr("Example")) << name;
    EXPECT_EQ(run_dunlin({name, "--help"}).out, help.out) << name;
  }
  EXPECT_THAT(run_dunlin({"--help"}).out, HasSubstr("detokenize"));
}

TEST(Help, OfACommandBelowAnotherIsTheSameInBothForms) {
  for (const char* name : {"model", "forward", "sweep", "optimizations"}) {
    const ProcessResult help = run_dunlin({"help", "bench", name});
    EXPECT_EQ(help.code, 0);
    EXPECT_EQ(run_dunlin({"bench", name, "--help"}).out, help.out) << name;
    EXPECT_THAT(help.out,
                HasSubstr(fmt::format("\nUsage: dunlin bench {} MODEL [FLAG...]\n", name)));
    EXPECT_THAT(help.out, HasSubstr("Examples:"));
  }
  const ProcessResult bench = run_dunlin({"help", "bench"});
  EXPECT_EQ(run_dunlin({"bench", "--help"}).out, bench.out);
  EXPECT_THAT(bench.out, HasSubstr("\nUsage: dunlin bench COMMAND\n"));
  EXPECT_THAT(run_dunlin({"run", "--help"}).out, HasSubstr("\nUsage: dunlin run "));
  EXPECT_THAT(run_dunlin({"--help"}).out, HasSubstr("\nUsage: dunlin COMMAND\n"));
}

TEST(Version, IsTheSameInAllForms) {
  const auto json = run_dunlin({"version", "--json"}).json();
  ASSERT_TRUE(json.is_object());
  EXPECT_EQ(json["schema_version"], 1);
  const std::string line = "dunlin " + json["version"].get<std::string>();
  EXPECT_THAT(run_dunlin({"version"}).out, StartsWith(line));
  EXPECT_THAT(run_dunlin({"--version"}).out, StartsWith(line));
}

TEST(Devices, JsonHasTheContractsFields) {
  const ProcessResult result = run_dunlin({"devices", "--json"});
  ASSERT_EQ(result.code, 0) << result.err;
  const auto json = result.json();
  EXPECT_EQ(json["schema_version"], 1);
  EXPECT_GE(json["cpu"]["cores"].get<int>(), 1);
  EXPECT_EQ(json["cpu"]["isa"][0], "scalar");
  EXPECT_TRUE(json["cpu"]["caches"].is_object());
  EXPECT_GT(json["cpu"]["stream_gb_s"].get<double>(), 0.05);
  EXPECT_LT(json["cpu"]["stream_gb_s"].get<double>(), 20000.0);
  const auto& cpu = json["cpu"];
  EXPECT_EQ(cpu["threads"], cpu["cores"]);
  for (const char* field : {"sockets", "physical_cores", "processors", "usable_processors"})
    EXPECT_TRUE(cpu[field].is_number_integer() || cpu[field].is_null()) << field;
  EXPECT_TRUE(cpu["quota_processors"].is_number() || cpu["quota_processors"].is_null());
  ASSERT_TRUE(cpu["numa_nodes"].is_array());
  for (const auto& node : cpu["numa_nodes"]) {
    EXPECT_TRUE(node["node"].is_number_integer());
    EXPECT_TRUE(node["processors"].is_array());
    EXPECT_TRUE(node["memory_bytes"].is_number_integer());
  }
  // Memory is interleaved over several nodes, or it says why not.
  ASSERT_TRUE(cpu["interleaved_nodes"].is_array());
  EXPECT_EQ(cpu["interleaved_nodes"].empty(), cpu["why_not_interleaved"].is_string()) << cpu;
  EXPECT_NE(cpu["interleaved_nodes"].size(), 1u);
  ASSERT_TRUE(json["pjrt"].is_array());
  for (const auto& plugin : json["pjrt"]) {
    EXPECT_TRUE(plugin["plugin"].is_string());
    EXPECT_TRUE(plugin["devices"].is_array());
    // A plug-in has devices, or says why not.
    EXPECT_EQ(plugin["devices"].empty(), plugin["why_not"].is_string()) << plugin;
  }
}

TEST(Devices, TextHasTheTopology) {
  const ProcessResult result = run_dunlin({"devices"});
  ASSERT_EQ(result.code, 0) << result.err;
  for (const char* line : {"\ncores    ", "\nmemory   ", "\nquota    ", "\nthreads  "})
    EXPECT_THAT(result.out, HasSubstr(line));
}

TEST(Inspect, JsonListsConfigTokenizerAndTensors) {
  for (const char* container : {"model", "model.gguf"}) {
    const ProcessResult result =
        run_dunlin({"inspect", test_data(fmt::format("data/llama_plain/{}", container)), "--json"});
    ASSERT_EQ(result.code, 0) << result.err;
    const auto json = result.json();
    EXPECT_EQ(json["family"], "llama");
    EXPECT_EQ(json["config"]["hidden_size"], 64);
    EXPECT_EQ(json["config"]["num_hidden_layers"], 2);
    EXPECT_EQ(json["tokenizer"]["available"], false);
    EXPECT_FALSE(json["tokenizer"]["why_not"].get<std::string>().empty());
    uint64_t bytes = 0;
    for (const auto& tensor : json["tensors"]) {
      bytes += tensor["bytes"].get<uint64_t>();
      const std::string file = tensor["file"];
      EXPECT_LE(tensor["offset"].get<uint64_t>() + tensor["bytes"].get<uint64_t>(),
                std::filesystem::file_size(file));
    }
    EXPECT_EQ(json["bytes"], bytes);
    EXPECT_EQ(json["tensors"].size(), 21u);
  }
}

// What is listed at an offset is there: codes and exponents of MXFP4 are two tensors of a file.
TEST(Inspect, PairsAreListedWithBothPlaces) {
  const std::string model = test_data("data/gpt_oss_mxfp4/model");
  const auto tensors = run_dunlin({"inspect", model, "--json"}).json()["tensors"];
  const std::string stem = "model.layers.1.mlp.experts.down_proj_";
  const auto pair = std::ranges::find_if(tensors, [&](const nlohmann::json& tensor) {
    return tensor["name"].get<std::string>() == stem + "blocks";
  });
  ASSERT_NE(pair, tensors.end());
  const int64_t blocks = 6 * 64;  // experts, rows; a row is one block
  EXPECT_EQ((*pair)["bytes"], 16 * blocks);
  EXPECT_EQ((*pair)["exponents"]["bytes"], blocks);
  EXPECT_EQ((*pair)["exponents"]["name"], stem + "scales");
  const std::string file = read_all(model + "/model.safetensors");
  uint64_t header_bytes = 0;
  std::memcpy(&header_bytes, file.data(), sizeof(header_bytes));
  const auto header = nlohmann::json::parse(file.substr(8, header_bytes));
  for (const auto& [half, listed] : {std::pair<std::string, nlohmann::json>("blocks", *pair),
                                     {"scales", (*pair)["exponents"]}}) {
    const auto offsets = header[stem + half]["data_offsets"];
    EXPECT_EQ(listed["offset"], 8 + header_bytes + offsets[0].get<uint64_t>()) << half;
    EXPECT_EQ(listed["bytes"], offsets[1].get<uint64_t>() - offsets[0].get<uint64_t>()) << half;
  }
}

TEST(Inspect, TextFormsShowTensorsTemplateAndProgram) {
  const TemporaryFolder folder;
  write_text_model(folder.path());
  const auto inspect = [&](std::vector<std::string> more) {
    more.insert(more.begin(), {"inspect", folder.path()});
    return run_dunlin(more);
  };
  EXPECT_THAT(inspect({}).out, HasSubstr("hidden_size"));
  EXPECT_THAT(inspect({"--tensors"}).out,
              testing::ContainsRegex("model.norm.weight +\\[64\\] +F32 +256 +[0-9]+ +/"));
  EXPECT_THAT(inspect({"--template"}).out, HasSubstr("{{ message.role }}"));
  const std::string program = inspect({"--program", "--layers", "1"}).out;
  EXPECT_THAT(program, HasSubstr("layers.0.attend"));
  EXPECT_THAT(program, testing::Not(HasSubstr("layers.1.")));
  EXPECT_THAT(inspect({"--program"}).out, HasSubstr("layers.1."));
  EXPECT_EQ(inspect({"--program", "--json"}).code, 2);
  EXPECT_EQ(run_dunlin({"inspect", folder.file("missing")}).code, 3);
}

// The texts of the tokenizers' tests, and their ids from the reference. Those that JSON cannot hold
// are left out.
struct SmallTokenizer {
  explicit SmallTokenizer(const std::string& name) : folder(test_data("tokenizer/data/" + name)) {
    const auto corpus = nlohmann::json::parse(read_all(test_data("tokenizer/data/corpus.json")));
    const auto all = nlohmann::json::parse(read_all(folder + ".ids.json"))["ids"];
    for (size_t i = 0; i < corpus.size(); ++i) {
      if (!corpus[i].is_string()) continue;
      texts.push_back(corpus[i].get<std::string>());
      ids.push_back(all[i].get<Ids>());
    }
  }
  std::string folder;
  std::vector<std::string> texts;
  std::vector<Ids> ids;
};

TEST(Tokenize, BatchEqualsTheReferenceAndComesBack) {
  for (const char* name : {"small_llama3", "small_qwen2", "small_smollm2", "small_gpt2"}) {
    const SmallTokenizer small(name);
    std::string input;
    for (const auto& text : small.texts) input += nlohmann::json{{"text", text}}.dump() + "\n";
    const ProcessResult tokenized =
        run_dunlin({"tokenize", small.folder, "--batch"}, {.text = input});
    ASSERT_EQ(tokenized.code, 0) << tokenized.err;
    const auto lines = tokenized.json_lines();
    ASSERT_EQ(lines.size(), small.texts.size());
    for (size_t i = 0; i < lines.size(); ++i)
      EXPECT_EQ(lines[i]["ids"], small.ids[i]) << name << ": " << small.texts[i];

    const ProcessResult back = run_dunlin(
        {"detokenize", small.folder + "/tokenizer.json", "--batch"}, {.text = tokenized.out});
    ASSERT_EQ(back.code, 0) << back.err;
    const auto texts = back.json_lines();
    ASSERT_EQ(texts.size(), lines.size());
    if (std::string(name) == "small_qwen2") continue;  // it normalises
    for (size_t i = 0; i < texts.size(); ++i) {
      std::string expected = small.texts[i];
      // This vocabulary has no token for these two bytes.
      if (std::string(name) == "small_smollm2")
        std::erase_if(expected, [](char byte) { return byte == '\x04' || byte == '\x06'; });
      EXPECT_EQ(texts[i]["text"], expected) << name;
    }
  }
}

TEST(Tokenize, BytesOfStdinComeBackUnchanged) {
  const std::string folder = test_data("tokenizer/data/small_llama3");
  const std::string text = "Hello world\n\n  trailing \t\r\n\xE2\x82\xAC and \xF0\x9F\x98\x80\n";
  const ProcessResult ids = run_dunlin({"tokenize", folder, "--ids"}, {.text = text});
  ASSERT_EQ(ids.code, 0) << ids.err;
  EXPECT_TRUE(ids.json().is_array());
  EXPECT_EQ(run_dunlin({"detokenize", folder}, {.text = ids.out}).out, text);
  EXPECT_EQ(run_dunlin({"detokenize", folder, ids.out}).out, text);
  // What is not UTF-8 counts as U+FFFD.
  EXPECT_EQ(run_dunlin({"tokenize", folder, "--ids"}, {.text = "a\xC3"}).out,
            run_dunlin({"tokenize", folder, "--ids"}, {.text = "a\xEF\xBF\xBD"}).out);
  // The argument says the same as stdin.
  EXPECT_EQ(run_dunlin({"tokenize", folder, text, "--ids"}).out, ids.out);
}

TEST(Tokenize, SpecialTokensAndBosAreAskedFor) {
  const std::string folder = test_data("tokenizer/data/small_llama3");  // <|begin|> is 701, bos
  const auto ids = [&](std::vector<std::string> more) {
    more.insert(more.begin(), {"tokenize", folder, "a<|eot_id|>", "--ids"});
    return run_dunlin(more).json().get<Ids>();
  };
  const Ids parsed = ids({});
  EXPECT_EQ(parsed.back(), 704);
  EXPECT_EQ(parsed.size(), 2u);
  const Ids text = ids({"--no-special"});
  EXPECT_GT(text.size(), 2u);
  EXPECT_THAT(text, testing::Each(testing::Lt(701)));
  Ids with_bos = parsed;
  with_bos.insert(with_bos.begin(), 701);
  EXPECT_EQ(ids({"--add-bos"}), with_bos);
  const ProcessResult none =
      run_dunlin({"tokenize", test_data("tokenizer/data/small_gpt2"), "a", "--add-bos"});
  EXPECT_EQ(none.code, 2);
}

TEST(Tokenize, PiecesAreForPeopleAndJsonIsValidForPartialCharacters) {
  const std::string folder = test_data("tokenizer/data/small_llama3");
  const ProcessResult pieces = run_dunlin({"tokenize", folder}, {.text = "a\n\xF0\x9F\x98\x80"});
  EXPECT_THAT(pieces.out, HasSubstr("\\n"));
  EXPECT_THAT(pieces.out, HasSubstr("\\xf0"));
  const auto json =
      run_dunlin({"tokenize", folder, "--json"}, {.text = "a\xF0\x9F\x98\x80"}).json();
  ASSERT_TRUE(json.is_object());
  EXPECT_EQ(json["ids"].size(), json["pieces"].size());
  EXPECT_EQ(json["pieces"][0], "a");
}

TEST(Tokenize, WrongInputIsAnError) {
  const std::string folder = test_data("tokenizer/data/small_llama3");
  EXPECT_EQ(run_dunlin({"tokenize", folder, "--batch"}, {.text = "{\"text\":1}\n"}).code, 2);
  EXPECT_EQ(run_dunlin({"detokenize", folder}, {.text = "[1, \"x\"]"}).code, 2);
  EXPECT_EQ(run_dunlin({"detokenize", folder}, {.text = "[-1]"}).code, 2);
  EXPECT_EQ(run_dunlin({"detokenize", folder}, {.text = "nonsense"}).code, 2);
  const ProcessResult beyond = run_dunlin({"detokenize", folder}, {.text = "[1, 99999]"});
  EXPECT_EQ(beyond.code, 2);
  EXPECT_THAT(beyond.err, StartsWith("error: stdin: token 99999 is outside 0.."));
  const ProcessResult line =
      run_dunlin({"detokenize", folder, "--batch"}, {.text = "{\"ids\":[1]}\n{\"ids\":[99999]}\n"});
  EXPECT_EQ(line.code, 2);
  EXPECT_THAT(line.err, StartsWith("error: stdin:2: token 99999 is outside 0.."));
  // Of two that exclude each other none is left out in silence.
  EXPECT_EQ(run_dunlin({"tokenize", folder, "a", "--ids", "--batch"}).code, 2);
  EXPECT_EQ(run_dunlin({"tokenize", folder, "a", "--ids", "--json"}).code, 2);
  EXPECT_EQ(run_dunlin({"tokenize", folder, "--json", "--batch"}).code, 2);
  EXPECT_EQ(run_dunlin({"detokenize", folder, "[1]", "--batch"}).code, 2);
  EXPECT_EQ(run_dunlin({"tokenize", test_data("data/llama_plain/model"), "a"}).code, 3);
  EXPECT_EQ(run_dunlin({"tokenize", test_data("data/llama_plain/model.gguf"), "a"}).code, 3);
  EXPECT_EQ(run_dunlin({"tokenize", "/nowhere/tokenizer.json", "a"}).code, 3);
}

class BenchTest : public testing::Test {
 protected:
  static ProcessResult bench(std::vector<std::string> more) {
    more.insert(more.begin(), {"bench", "model", test_data("data/llama_plain/model.gguf")});
    return run_dunlin(more);
  }
};

TEST_F(BenchTest, JsonHasTheFieldsInTheirUnits) {
  const ProcessResult result = bench(
      {"-p", "8", "-n", "3", "-pg", "4,2", "-d", "0,5", "-t", "1,2", "-r", "2", "-o", "json"});
  ASSERT_EQ(result.code, 0) << result.err;
  const auto tests = result.json();
  ASSERT_TRUE(tests.is_array()) << result.out;
  ASSERT_EQ(tests.size(), 12u);  // 2 threads x 2 depths x 3 tests
  for (const auto& test : tests) {
    const int64_t tokens = test["n_prompt"].get<int64_t>() + test["n_gen"].get<int64_t>();
    ASSERT_EQ(test["samples_ns"].size(), 2u);
    for (size_t i = 0; i < 2; ++i) {
      EXPECT_NEAR(test["samples_ts"][i].get<double>() * test["samples_ns"][i].get<double>(),
                  1e9 * static_cast<double>(tokens), 1e3);
    }
    EXPECT_NEAR(test["avg_ts"].get<double>(),
                (test["samples_ts"][0].get<double>() + test["samples_ts"][1].get<double>()) / 2,
                1e-6 * test["avg_ts"].get<double>());
    EXPECT_GT(test["stream_gb_s"].get<double>(), 0.0);
    EXPECT_NEAR(test["bandwidth_fraction"].get<double>(),
                test["weights_gb_s"].get<double>() / test["stream_gb_s"].get<double>(), 1e-9);
    EXPECT_GT(test["peak_rss_bytes"].get<int64_t>(), 1 << 20);
    for (const char* name :
         {"n_batch", "stddev_ts", "avg_ns", "model_size", "model_type", "model_filename",
          "cpu_info", "isa", "kernels", "load_ms", "load_average", "backends", "test_time",
          "tflops", "peak_tflops", "peak_fraction"}) {
      EXPECT_TRUE(test.contains(name)) << name;
    }
  }
  EXPECT_EQ(tests[0]["n_threads"], 1);
  EXPECT_EQ(tests[11]["n_threads"], 2);
  EXPECT_EQ(tests[5]["n_depth"], 5);
  // Every weight but the looked-up embedding, read once in each of the three steps of tg3.
  const auto& tg = tests[1];
  const double streamed = tg["model_size"].get<double>() - 160 * 64 * 4;
  EXPECT_NEAR(tg["weights_gb_s"].get<double>(), streamed * 3 / tg["avg_ns"].get<double>(),
              0.01 * tg["weights_gb_s"].get<double>());
}

// A token of a mixture reads the experts that it chooses, here 4 of 6.
TEST_F(BenchTest, OfAMixtureTheChosenExpertsAreRead) {
  const ProcessResult result =
      run_dunlin({"bench", "model", test_data("data/gpt_oss_mxfp4/model.gguf"), "-p", "0", "-n",
                  "3", "-r", "2", "-o", "json"});
  ASSERT_EQ(result.code, 0) << result.err;
  const auto tests = result.json();
  ASSERT_EQ(tests.size(), 1u);
  const auto& tg = tests[0];
  // In three layers, of each expert three matrices of 32 x 64 in MXFP4 and biases in F32.
  const double experts = 3 * 6 * (3 * 32 * 64 / 32 * 17 + (32 + 32 + 64) * 4);
  const double streamed = tg["model_size"].get<double>() - 160 * 64 * 2 - experts * 2 / 6;
  EXPECT_NEAR(tg["weights_gb_s"].get<double>(), streamed * 3 / tg["avg_ns"].get<double>(),
              0.01 * tg["weights_gb_s"].get<double>());
}

// 2 for each weight of a matrix and row (the logits' for the last row only), 4 for each query head
// dimension and position it sees.
TEST_F(BenchTest, OperationsAreThoseOfTheMatrices) {
  const TemporaryFolder cache;
  const ProcessResult result =
      run_dunlin({"bench", "model", test_data("data/llama_plain/model.gguf"), "-p", "8", "-n", "3",
                  "-d", "5", "-t", "1", "-r", "1", "-b", "6", "-o", "json"},
                 {.environment = {{"DUNLIN_CACHE", cache.path()}}});
  ASSERT_EQ(result.code, 0) << result.err;
  const auto tests = result.json();
  ASSERT_EQ(tests.size(), 2u);
  const auto config =
      run_dunlin({"inspect", test_data("data/llama_plain/model"), "--json"}).json()["config"];
  const double layers = config["num_hidden_layers"];
  const double hidden = config["hidden_size"];
  const double heads =
      config["num_attention_heads"].get<double>() * config["head_dim"].get<double>();
  const double kv = config["num_key_value_heads"].get<double>() * config["head_dim"].get<double>();
  const double matrices = layers * (hidden * (2 * heads + 2 * kv) +
                                    3 * hidden * config["intermediate_size"].get<double>());
  const double logits = hidden * config["vocab_size"].get<double>();
  const auto flops = [&](double rows, double logit_rows, double seen) {
    return 2 * (rows * matrices + logit_rows * logits) + 4 * layers * heads * seen;
  };
  // Rows 5..12 of the sequence see 6..13 positions, and three times the next row.
  const std::vector<double> wanted = {flops(8, 1, 76), flops(3, 3, 6 + 7 + 8)};
  for (size_t i = 0; i < 2; ++i) {
    EXPECT_NEAR(tests[i]["tflops"].get<double>() * tests[i]["avg_ns"].get<double>() * 1e3,
                wanted[i], 1e-3 * wanted[i]);
    EXPECT_EQ(tests[i]["n_ubatch"], 6);
    // Nothing was calibrated.
    EXPECT_TRUE(tests[i]["peak_tflops"].is_null());
    EXPECT_TRUE(tests[i]["peak_fraction"].is_null());
  }
}

TEST_F(BenchTest, ThePeakIsWhatWasCalibratedForTheseThreadsAndThisInstructionSet) {
  const TemporaryFolder cache;
  std::string name = cpu_features().model;
  std::ranges::replace_if(name, [](unsigned char c) { return std::isalnum(c) == 0; }, '-');
  const std::string best = isa_name(cpu_features().best);
  const CpuRates rates{.cpu = cpu_features().model,
                       .threads = 2,
                       .isa = best,
                       .calibrated = true,
                       .stream = {{.bytes = 1e9, .bytes_per_second = 1e10}},
                       .formats = {{.format = "F32",
                                    .decode_fraction = 1,
                                    .generated_flops = 1e12,
                                    .prompt_flops = 2e12}},
                       .kv_fraction = 1,
                       .attention_flops = 1e12,
                       .step_seconds = 1e-6,
                       .element_seconds = 1e-10,
                       .prompt_score_seconds = 1e-9,
                       .generated_score_seconds = 1e-9};
  std::filesystem::create_directory(cache.file("calibration"));
  write_all(cache.file(fmt::format("calibration/{}-{}-2.json", name, best)), to_json(rates));
  const auto first = [&](const char* threads, const std::string& isa) {
    const ProcessResult result =
        run_dunlin({"bench", "model", test_data("data/llama_plain/model.gguf"), "-p", "8", "-n",
                    "0", "-t", threads, "-r", "1", "-o", "json"},
                   {.environment = {{"DUNLIN_CACHE", cache.path()}, {"DUNLIN_ISA", isa}}});
    EXPECT_EQ(result.code, 0) << result.err;
    return result.json()[0];
  };
  const auto test = first("2", best);
  EXPECT_EQ(test["peak_tflops"], 2.0);
  EXPECT_NEAR(test["peak_fraction"].get<double>(), test["tflops"].get<double>() / 2, 1e-9);
  EXPECT_TRUE(first("1", best)["peak_tflops"].is_null());
  if (best != "scalar") {
    EXPECT_TRUE(first("2", "scalar")["peak_tflops"].is_null());
  }
  // What an earlier version kept meant something else: a note, and what is typical in its place.
  std::string older = to_json(rates);
  older.replace(older.find(": 2"), 3, ": 1");
  write_all(cache.file(fmt::format("calibration/{}-{}-2.json", name, best)), older);
  const ProcessResult plan =
      run_dunlin({"plan", test_data("data/llama_plain/model.gguf"), "-t", "2"},
                 {.environment = {{"DUNLIN_CACHE", cache.path()}}});
  EXPECT_EQ(plan.code, 0) << plan.err;
  EXPECT_THAT(plan.err, HasSubstr("schema_version 1, and this reads 2"));
  EXPECT_THAT(plan.err, HasSubstr("it is not used"));
  EXPECT_THAT(plan.out, HasSubstr("--calibrate measures it"));
}

TEST_F(BenchTest, TheTableHasTheColumnsOfLlamaBench) {
  const ProcessResult result = bench({"-p", "8", "-n", "2", "-d", "4", "-r", "1", "-t", "1"});
  ASSERT_EQ(result.code, 0) << result.err;
  EXPECT_THAT(result.out,
              StartsWith("| model                          |       size |     params | "
                         "backend    | threads |            test |                  t/s |\n"
                         "| ------------------------------ | ---------: | ---------: | "
                         "---------- | ------: | --------------: | -------------------: |\n"
                         "| llama "));
  EXPECT_THAT(result.out, HasSubstr(" | CPU        |       1 |        pp8 @ d4 | "));
  EXPECT_THAT(result.out, HasSubstr(" ± 0.00 |\n"));
  EXPECT_THAT(result.out, HasSubstr(" |        tg2 @ d4 | "));
}

TEST_F(BenchTest, OtherFormsHoldTheSame) {
  const std::vector<std::string> small = {"-p", "4", "-n", "2", "-r", "1"};
  const auto with = [&](std::vector<std::string> more) {
    more.insert(more.begin(), small.begin(), small.end());
    return bench(more);
  };
  const auto lines = with({"-o", "jsonl"}).json_lines();
  ASSERT_EQ(lines.size(), 2u);
  EXPECT_EQ(lines[1]["n_gen"], 2);
  const auto object = with({"--json"}).json();
  EXPECT_EQ(object["schema_version"], 1);
  EXPECT_EQ(object["results"].size(), 2u);
  const ProcessResult csv = with({"-o", "csv", "-oe", "md"});
  EXPECT_THAT(csv.out, HasSubstr("\"n_prompt\",\"n_gen\""));
  EXPECT_EQ(std::ranges::count(csv.out, '\n'), 3);
  EXPECT_THAT(csv.err, StartsWith("| model "));
}

TEST_F(BenchTest, WrongListsAreUsageErrors) {
  for (const char* list : {"x", "1-", "5-3", "1,,2", "0-8*2", "1-8*1", "1-4000"})
    EXPECT_EQ(bench({"-p", list}).code, 2) << list;
  EXPECT_EQ(bench({"-pg", "3"}).code, 2);
  EXPECT_EQ(bench({"-o", "sql"}).code, 2);
  EXPECT_EQ(bench({"-p", "0", "-n", "0"}).code, 2);
  EXPECT_EQ(bench({"-p", "600"}).code, 2);  // more than the model's 512 positions
}

}  // namespace
}  // namespace dunlin
