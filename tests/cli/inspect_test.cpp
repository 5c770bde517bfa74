// `dunlin inspect` as a process.
#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <filesystem>
#include <string>
#include <utility>
#include <vector>

#include "process.h"
#include "support/temporary_folder.h"
#include "support/text_model_folder.h"

namespace dunlin {
namespace {

using testing::HasSubstr;

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
  EXPECT_EQ(inspect({"--disable", "input_norm"}).code, 2);
  EXPECT_EQ(run_dunlin({"inspect", folder.file("missing")}).code, 3);
}

// The recorded operations, then the steps: with all rewrites, and without one.
TEST(Inspect, AProgramIsShownBeforeAndAfterFusion) {
  const std::vector<std::string> command = {"inspect", test_data("data/llama_plain/model.gguf"),
                                            "--program", "--layers", "1"};
  const ProcessResult fused = run_dunlin(command);
  ASSERT_EQ(fused.code, 0) << fused.err;
  const size_t steps = fused.out.find("\nsteps of the back end cpu: 8\n");
  ASSERT_NE(steps, std::string::npos) << fused.out;
  EXPECT_LT(fused.out.find(" = rms_norm("), steps);
  EXPECT_THAT(fused.out.substr(steps),
              testing::ContainsRegex("\nlinear[+]shared_input[+]input_norm[+]embed_norm +embed, "
                                     "layers.0.rms_norm, layers.0.attend.q_proj, "
                                     "layers.0.attend.k_proj, layers.0.attend.v_proj\n"));
  std::vector<std::string> plain = command;
  plain.insert(plain.end(), {"--disable", "all"});
  const std::string text = run_dunlin(plain).out;
  const size_t nodes = text.find("\nsteps of the back end cpu: ");
  ASSERT_NE(nodes, std::string::npos) << text;
  EXPECT_EQ(text.substr(0, nodes), fused.out.substr(0, steps));
  EXPECT_THAT(text.substr(nodes), testing::ContainsRegex("\nrms_norm +layers.0.rms_norm\n"));
  EXPECT_THAT(text.substr(nodes), testing::Not(HasSubstr("+")));
}

}  // namespace
}  // namespace dunlin
