// Hugging Face directories with one file that cannot be: safetensors, its index, config.json.
#include <cstdint>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <string>
#include <utility>
#include <vector>

#include "checkpoint/tiny_model.h"
#include "malformed_files.h"
#include "process.h"

namespace dunlin {
namespace {

using Json = nlohmann::json;

constexpr const char* kWeights = "model.safetensors";
constexpr const char* kIndex = "model.safetensors.index.json";
constexpr const char* kConfiguration = "config.json";

std::string good_weights() {
  return safetensors_file(tiny_tensors(/*biases=*/false, /*tied=*/false));
}

// Weights of these bytes beside a good config.json.
MalformedFile weights(std::string name, std::string problem, std::string bytes) {
  const auto make = [bytes = std::move(bytes)](const std::string& folder) {
    write_all(folder + "/" + kConfiguration, tiny_config());
    write_all(folder + "/" + kWeights, bytes);
  };
  return {std::move(name), kWeights, std::move(problem), make};
}

// A header, and sixteen bytes of data.
MalformedFile header(std::string name, std::string problem, const std::string& text) {
  return weights(std::move(name), std::move(problem), safetensors_file(text, std::string(16, 'x')));
}

// The entry of one tensor.
MalformedFile entry(std::string name, std::string problem, const std::string& dtype,
                    const std::string& shape, const std::string& offsets) {
  return header(std::move(name), std::move(problem),
                "{\"a\": {\"dtype\": \"" + dtype + "\", \"shape\": " + shape +
                    ", \"data_offsets\": " + offsets + "}}");
}

// The entries of two tensors of F32.
MalformedFile entries(std::string name, std::string problem, const std::string& first,
                      const std::string& second) {
  return header(
      std::move(name), std::move(problem),
      "{\"a\": {\"dtype\": \"F32\", " + first + "}, \"b\": {\"dtype\": \"F32\", " + second + "}}");
}

// Bytes that begin with a length.
std::string of_length(uint64_t length) {
  return raw(length) + std::string(64, ' ');
}

// An index that puts one of the weights into the shard `other`, which `make_other` makes, and the others where
// they are.
MalformedFile index_to(std::string name, std::string file, std::string problem, std::string other,
                       void (*make_other)(const std::string& folder)) {
  const auto make = [other = std::move(other), make_other](const std::string& folder) {
    Json document;
    for (const auto& [tensor, values] : tiny_tensors(/*biases=*/false, /*tied=*/false))
      document["weight_map"][tensor] = "b.safetensors";
    document["weight_map"]["model.norm.weight"] = other;
    write_all(folder + "/" + kConfiguration, tiny_config());
    write_all(folder + "/b.safetensors", good_weights());
    write_all(folder + "/" + kIndex, document.dump());
    make_other(folder);
  };
  return {std::move(name), std::move(file), std::move(problem), make};
}

// A config.json beside good weights.
MalformedFile text(std::string name, std::string problem, std::string config) {
  const auto make = [config = std::move(config)](const std::string& folder) {
    write_all(folder + "/" + kWeights, good_weights());
    write_all(folder + "/" + kConfiguration, config);
  };
  return {std::move(name), kConfiguration, std::move(problem), make};
}

// One key of config.json with another value.
MalformedFile with(std::string name, std::string problem, const char* key, const Json& value) {
  Json config = Json::parse(tiny_config());
  config[key] = value;
  return text(std::move(name), std::move(problem), config.dump());
}

MalformedFile without(std::string name, const char* key) {
  Json config = Json::parse(tiny_config());
  config.erase(std::string(key));
  std::string problem = key;
  problem += " is missing";
  return text(std::move(name), std::move(problem), config.dump());
}

std::string replaced(std::string config, const std::string& from, const std::string& to) {
  return config.replace(config.find(from), from.size(), to);
}

}  // namespace

std::vector<MalformedFile> malformed_safetensors() {
  const std::string good = good_weights();
  const std::string whole = R"({"a": {"dtype": "F32", "shape": [4], "data_offsets": [0, 16]}})";
  auto empty_norm = tiny_tensors(false, false);
  empty_norm["model.norm.weight"] = {{0}, {}};
  return {
      weights("WeightsEmpty", "0 bytes are too few", ""),
      weights("WeightsSevenBytes", "7 bytes are too few", "abcdefg"),
      weights("WeightsHeader0", "does not begin with {", raw<uint64_t>(0) + "abc"),
      weights("WeightsHeader63Bits", "a header of", of_length(uint64_t{1} << 63)),
      weights("WeightsHeader100Mb", "a header of", of_length(100'000'001)),
      weights("WeightsHeaderBeyondTheFile", "a header of", of_length(65)),
      header("WeightsNotUtf8", "not valid JSON", "{\"\xff\": 1}"),
      header("WeightsNoObject", "does not begin with {", "[]"),
      header("WeightsMoreText", "not valid JSON", whole + "{}"),
      header("WeightsDeep", "a list is not expected", "{\"a\": " + std::string(100'000, '[')),
      header("WeightsTwice", "occurs twice",
             R"({"a": {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]},
                 "a": {"dtype": "F32", "shape": [2], "data_offsets": [8, 16]}})"),
      header("WeightsMetadata", "not expected", R"({"__metadata__": {"a": 1}})"),
      entry("WeightsType", "is stored as \"F99\"", "F99", "[4]", "[0, 16]"),
      entry("WeightsShapeNegative", "a negative number is not expected", "F32", "[-4]", "[0, 16]"),
      entry("WeightsShapeFraction", "not expected", "F32", "[4.5]", "[0, 16]"),
      entry("WeightsShape64Bits", "does not have 16 bytes", "F32", "[18446744073709551615]",
            "[0, 16]"),
      entry("WeightsShapeOverflows", "does not have 16 bytes", "F32", "[4294967296, 4294967296]",
            "[0, 16]"),
      entry("WeightsShapeTooSmall", "does not have 16 bytes", "F32", "[3]", "[0, 16]"),
      entry("WeightsOffsetsReversed", "begin at 16", "F32", "[4]", "[16, 0]"),
      entry("WeightsOffsetBeyondTheFile", "holds 16 bytes", "F32", "[5]", "[0, 20]"),
      entries("WeightsOverlap", "begin at 8, not at 12", R"("shape": [3], "data_offsets": [0, 12])",
              R"("shape": [2], "data_offsets": [8, 16])"),
      entries("WeightsHole", "begin at 8, not at 4", R"("shape": [1], "data_offsets": [0, 4])",
              R"("shape": [2], "data_offsets": [8, 16])"),
      weights("WeightsNotCovered", "the tensors end at 16 of 20 bytes",
              safetensors_file(whole, std::string(20, 'x'))),
      weights("WeightsNone", "has the shape [0]", safetensors_file(empty_norm)),
      weights("WeightsCut", "bytes of data", good.substr(0, good.size() - 100)),
      weights("WeightsZip", "a header of", "PK\x03\x04" + good),
      weights("WeightsPdf", "a header of", "%PDF-1.7" + good),
  };
}

std::vector<MalformedFile> malformed_indexes() {
  const std::string wrong_name = "is not the name of a safetensors file beside the index";
  const std::string shard = "a.safetensors";
  const auto nothing = [](const std::string&) {};
  return {
      index_to("IndexAbove", kIndex, wrong_name, "../a.safetensors", nothing),
      index_to("IndexAbsolute", kIndex, wrong_name, "/tmp/a.safetensors", nothing),
      index_to("IndexOfAnotherFile", kIndex, wrong_name, "/etc/passwd", nothing),
      index_to("IndexMissingShard", shard, "No such file", shard, nothing),
      index_to("IndexNamesItself", shard, "not a safetensors file", shard,
               [](const std::string& folder) {
                 std::filesystem::create_symlink(kIndex, folder + "/a.safetensors");
               }),
      index_to(
          "IndexTensorInTwoShards", shard, "is in this file, but", shard,
          [](const std::string& folder) { write_all(folder + "/a.safetensors", good_weights()); }),
  };
}

std::vector<MalformedFile> malformed_configurations() {
  const std::string good = tiny_config();
  Json three_heads = Json::parse(good);
  three_heads.erase("head_dim");
  three_heads["num_attention_heads"] = three_heads["num_key_value_heads"] = 3;
  const Json linear = {{"rope_type", "linear"}, {"factor", 4.0}};
  const Json other_bits = {{"quant_method", "awq"}, {"bits", -3}};
  std::vector<MalformedFile> all = {
      text("ConfigEmpty", "not valid JSON", ""),
      text("ConfigCut", "not valid JSON", good.substr(0, good.size() / 2)),
      text("ConfigList", "not a JSON object", "[]"),
      text("ConfigDeep", "nested deeper than 64", "{\"a\": " + std::string(10'000, '[')),
      text("ConfigTenMegabytes", "bytes, more than", good + std::string(10 << 20, ' ')),
      text("ConfigNotUtf8", "not valid JSON", "{\"model_type\": \"\xff\"}"),
      text("ConfigKeyTwice", "occurs twice", replaced(good, "{", "{\"hidden_size\": 8, ")),
      text("ConfigNaN", "not valid JSON",
           replaced(good, "\"hidden_size\": 8", "\"hidden_size\": NaN")),
      with("ConfigOtherModel", "\"mamba\" are not supported", "model_type", "mamba"),
      text("ConfigHeadsDoNotDivide", "hidden_size 8 is not a multiple of num_attention_heads 3",
           three_heads.dump()),
      with("ConfigMoreKeyHeads", "are not a multiple of 4 key-value heads", "num_key_value_heads",
           4),
      with("ConfigRopeScaling", "supported: default, llama3, yarn", "rope_scaling", linear),
      with("ConfigQuantization", "\"awq\" is not supported", "quantization_config", other_bits),
      with("ConfigEpsilonText", "rms_norm_eps is not a number", "rms_norm_eps", "1e-5"),
  };
  for (const char* key : {"hidden_size", "intermediate_size", "num_hidden_layers",
                          "num_attention_heads", "vocab_size", "max_position_embeddings"}) {
    const std::string name = key;
    all.push_back(without("ConfigWithout_" + name, key));
    all.push_back(with("ConfigNull_" + name, name + " is missing", key, nullptr));
    all.push_back(with("ConfigText_" + name, name + " is not an integer", key, "8"));
    all.push_back(with("ConfigNegative_" + name, name + " is -1", key, -1));
    all.push_back(with("ConfigZero_" + name, name + " is 0", key, 0));
    all.push_back(with("ConfigHuge_" + name, name, key, 1e308));
  }
  return all;
}

}  // namespace dunlin
