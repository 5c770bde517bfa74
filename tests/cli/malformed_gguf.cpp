// GGUF files with one field that cannot be, paths that are no files, and split files whose parts do not belong
// together.
#include <sys/stat.h>

#include <cstdint>
#include <filesystem>
#include <limits>
#include <string>
#include <utility>
#include <vector>

#include "checkpoint/tiny_model.h"
#include "malformed_files.h"
#include "process.h"

namespace dunlin {
namespace {

namespace fs = std::filesystem;

constexpr const char* kGguf = "tiny.gguf";
constexpr uint64_t kHuge = std::numeric_limits<uint64_t>::max();

MalformedFile gguf(std::string name, std::string problem, std::string bytes) {
  const auto make = [bytes = std::move(bytes)](const std::string& folder) {
    write_all(folder + "/" + kGguf, bytes);
  };
  MalformedFile file{std::move(name), kGguf, std::move(problem), make};
  file.model = kGguf;
  return file;
}

MalformedFile gguf(std::string name, std::string problem, const GgufBuilder& builder) {
  return gguf(std::move(name), std::move(problem), builder.build());
}

// The tiny model with other counts in its preamble.
GgufBuilder counts(uint64_t tensors, uint64_t pairs) {
  GgufBuilder builder = tiny_gguf();
  if (tensors > 0) builder.tensor_count = tensors;
  if (pairs > 0) builder.pair_count = pairs;
  return builder;
}

GgufBuilder of_version(uint32_t number) {
  GgufBuilder builder = tiny_gguf();
  builder.version = number;
  return builder;
}

// A key of that many bytes, as it says, and nothing else.
std::string key_of(uint64_t length) {
  GgufBuilder builder;
  builder.pair_count = 1;
  return builder.header() + raw(length) + std::string(70'000, 'k');
}

GgufBuilder more(GgufTensor tensor) {
  GgufBuilder builder = tiny_gguf();
  builder.tensors.push_back(std::move(tensor));
  return builder;
}

// The tiny model with a key of the tokenizer beside two tokens.
GgufBuilder tokens_and(const std::string& key, uint32_t type, uint64_t count,
                       const std::string& elements) {
  GgufBuilder builder = tiny_gguf();
  builder.array("tokenizer.ggml.tokens", kString, 2, raw_string("a") + raw_string("b"));
  return builder.array(key, type, count, elements);
}

// Two parts of which the second is as given, or missing.
MalformedFile split(std::string name, std::string problem, std::string second) {
  const auto make = [second = std::move(second)](const std::string& folder) {
    GgufBuilder first = tiny_gguf();
    first.set("split.no", kU16, raw<uint16_t>(0)).set("split.count", kU16, raw<uint16_t>(2));
    write_all(folder + "/tiny-00001-of-00002.gguf", first.build());
    if (!second.empty()) write_all(folder + "/tiny-00002-of-00002.gguf", second);
  };
  MalformedFile file{std::move(name), "tiny-00002-of-00002.gguf", std::move(problem), make};
  file.model = "tiny-00001-of-00002.gguf";
  return file;
}

std::string part(uint16_t index, uint16_t count) {
  GgufBuilder builder = tiny_gguf();
  builder.set("split.no", kU16, raw(index)).set("split.count", kU16, raw(count));
  return builder.build();
}

// What is made under the name of a model and is no regular file.
MalformedFile no_file(std::string name, std::string problem,
                      std::function<void(const std::string& path)> make_path) {
  const auto make = [make_path = std::move(make_path)](const std::string& folder) {
    make_path(folder + "/" + kGguf);
  };
  MalformedFile file{std::move(name), kGguf, std::move(problem), make};
  file.model = kGguf;
  return file;
}

}  // namespace

std::vector<MalformedFile> malformed_gguf_headers() {
  const std::string whole = tiny_gguf().build();
  GgufBuilder other_magic = tiny_gguf();
  other_magic.magic = "GGML";
  GgufBuilder swapped_magic = tiny_gguf();
  swapped_magic.magic = "FUGG";
  GgufBuilder key_twice = tiny_gguf();
  key_twice.pairs.push_back(key_twice.pairs.back());
  const std::string nested = raw<uint32_t>(kU8) + raw<uint64_t>(1) + "a";
  return {
      gguf("GgufEmpty", "the file ends (0 bytes)", std::string()),
      gguf("GgufOneByte", "the file ends", whole.substr(0, 1)),
      gguf("Gguf23Bytes", "the file ends", whole.substr(0, 23)),
      gguf("GgufMagic", "not a GGUF file", other_magic),
      gguf("GgufSwappedMagic", "big-endian", swapped_magic),
      gguf("GgufSwappedVersion", "big-endian", of_version(0x03000000)),
      gguf("GgufVersion0", "versions 2 and 3 are read", of_version(0)),
      gguf("GgufVersion1", "versions 2 and 3 are read", of_version(1)),
      gguf("GgufVersion4", "versions 2 and 3 are read", of_version(4)),
      gguf("GgufTensors64Bits", "tensors do not fit", counts(kHuge, 0)),
      gguf("GgufTensors33Bits", "tensors do not fit", counts(uint64_t{1} << 32, 0)),
      gguf("GgufKeys64Bits", "keys do not fit", counts(0, kHuge)),
      gguf("GgufKeys33Bits", "keys do not fit", counts(0, uint64_t{1} << 32)),
      gguf("GgufKeysThatDoNotFit", "keys do not fit", counts(0, whole.size() / 13)),
      gguf("GgufKeyLength64Bits", "a key of", key_of(kHuge)),
      gguf("GgufKeyLength0", "a key of 0 bytes", key_of(0)),
      gguf("GgufKeyLength64Kib", "a key of 65536 bytes", key_of(65'536)),
      gguf("GgufKeyNotText", "not visible ASCII", tiny_gguf().u32("a\xff", 1)),
      gguf("GgufKeyWithZero", "not visible ASCII", tiny_gguf().u32(std::string("a\0b", 3), 1)),
      gguf("GgufKeyTwice", "occurs twice", key_twice),
      gguf("GgufStringNotUtf8", "is not UTF-8", tiny_gguf().text("general.name", "\xff")),
      gguf("GgufStringWithZero", "contains a zero byte",
           tiny_gguf().text("general.name", std::string("a\0b", 3))),
      gguf("GgufStringLength64Bits", "the file ends",
           tiny_gguf().set("general.name", kString, raw(kHuge))),
      gguf("GgufValueType", "unknown type 13", tiny_gguf().set("x", 13, "")),
      gguf("GgufArrayOfArrays", "an array of arrays", tiny_gguf().array("x", kArray, 1, nested)),
      gguf("GgufArrayCountOverflows", "do not fit",
           tiny_gguf().array("x", kF64, kHuge / 8 + 2, "")),
      gguf("GgufArrayBeyondTheFile", "do not fit", tiny_gguf().array("x", kI32, 1 << 20, "abcd")),
      gguf("GgufAlignment0", "not a power of two", tiny_gguf().u32("general.alignment", 0)),
      gguf("GgufAlignment3", "not a power of two", tiny_gguf().u32("general.alignment", 3)),
      gguf("GgufAlignment13", "not a power of two", tiny_gguf().u32("general.alignment", 13)),
      gguf("GgufAlignment31Bits", "not a power of two",
           tiny_gguf().u32("general.alignment", 0x80000000)),
      gguf("GgufAlignmentSigned", "not a UINT32",
           tiny_gguf().set("general.alignment", kI32, raw<int32_t>(32))),
  };
}

std::vector<MalformedFile> malformed_gguf_tensors() {
  const std::string whole = tiny_gguf().build();
  const uint64_t big = 0x7fffffffffffffc0;
  GgufBuilder name_twice = tiny_gguf();
  name_twice.tensors.push_back(name_twice.tensors.back());
  GgufBuilder overlapping = tiny_gguf();
  overlapping.tensors.back().offset = 0;
  GgufBuilder sums = more({"t1", {big / 4}, 0, ""});
  sums.tensors.push_back({"t2", {big / 4}, 0, ""});
  GgufBuilder missing = tiny_gguf();
  std::erase_if(missing.tensors,
                [](const GgufTensor& tensor) { return tensor.name == "blk.0.ffn_up.weight"; });
  return {
      gguf("GgufTensorName64Bytes", "has 64 bytes", more({std::string(64, 'a'), {1}, 0, "abcd"})),
      gguf("GgufTensorTwice", "occurs twice", name_twice),
      gguf("GgufTensorMissing", "blk.0.ffn_up.weight", missing),
      gguf("GgufDimensions0", "0 dimensions", more({"t", {1}, 0, "abcd", {}, 0})),
      gguf("GgufDimensions5", "5 dimensions", more({"t", {1}, 0, "abcd", {}, 5})),
      gguf("GgufDimensions32Bits", "4294967295 dimensions",
           more({"t", {1}, 0, "abcd", {}, 0xffffffff})),
      gguf("GgufExtent0", "a dimension of 0", more({"t", {4, 0}, 0, ""})),
      gguf("GgufExtentNegative", "larger than any file", more({"t", {4, kHuge}, 0, ""})),
      gguf("GgufExtentsOverflow", "larger than any file", more({"t", {big, 2}, 0, ""})),
      gguf("GgufSumOverflows", "beyond the file", sums),
      gguf("GgufTypeUnknown", "unknown type 42", more({"t", {32}, 42, "abcd"})),
      gguf("GgufTypeRemoved", "unknown type 4", more({"t", {32}, 4, "abcd"})),
      gguf("GgufTypeNegative", "unknown type 4294967295", more({"t", {32}, 0xffffffff, "abcd"})),
      gguf("GgufPartOfABlock", "not whole blocks of 32",
           more({"t", {33, 2}, 2, std::string(36, 'x')})),
      gguf("GgufOffsetUnaligned", "not a multiple of 32", more({"t", {1}, 0, "abcd", 4})),
      gguf("GgufOffsetBeyondTheFile", "beyond the file",
           more({"t", {1}, 0, "abcd", uint64_t{1} << 40})),
      gguf("GgufOffsetWraps", "beyond the file", more({"t", {64}, 0, "abcd", kHuge - 31})),
      gguf("GgufOverlap", "overlaps the tensor", overlapping),
      gguf("GgufCut", "beyond the file", whole.substr(0, whole.size() - 200)),
      gguf("GgufMoreBytes", "bytes follow the last tensor", whole + std::string(4096, '\0')),
      split("GgufPartMissing", "No such file or directory (part 2 of 2", ""),
      split("GgufPartOfAnotherSplit", "its keys say part 2 of 3, not 2 of 2", part(1, 3)),
      split("GgufPartTwice", "its keys say part 1 of 2, not 2 of 2", part(0, 2)),
  };
}

std::vector<MalformedFile> malformed_gguf_keys() {
  const auto llama = [](const std::string& key) { return "llama." + key; };
  const auto number = [&](std::string name, const std::string& key, uint32_t value) {
    return gguf(std::move(name), llama(key) + " is ", tiny_gguf().u32(llama(key), value));
  };
  return {
      gguf("GgufNoArchitecture", "general.architecture is missing",
           tiny_gguf().without("general.architecture")),
      gguf("GgufOtherArchitecture", "\"mamba\" are not supported",
           tiny_gguf().text("general.architecture", "mamba")),
      gguf("GgufNoBlockCount", "llama.block_count is missing",
           tiny_gguf().without(llama("block_count"))),
      gguf("GgufWidthIsText", "llama.embedding_length is not an integer",
           tiny_gguf().text(llama("embedding_length"), "8")),
      number("GgufHeads0", "attention.head_count", 0),
      number("GgufBlocks30Bits", "block_count", 1'000'000'000),
      number("GgufVocabulary31Bits", "vocab_size", 0x80000000),
      number("GgufRopeOdd", "rope.dimension_count", 5),
      gguf("GgufHeadsDoNotDivide", "are not a multiple of 3 key-value heads",
           tiny_gguf().u32(llama("attention.head_count_kv"), 3)),
      gguf("GgufContext63Bits", "llama.context_length",
           tiny_gguf().set(llama("context_length"), kU64, raw(uint64_t{1} << 63))),
      gguf("GgufEpsilonNaN", "layer_norm_rms_epsilon",
           tiny_gguf().f32(llama("attention.layer_norm_rms_epsilon"),
                           std::numeric_limits<float>::quiet_NaN())),
      gguf("GgufMoreExpertsThanThereAre", "expert_count is 8",
           tiny_gguf().u32(llama("expert_count"), 8).u32(llama("expert_used_count"), 9)),
      gguf("GgufTokensAreBytes", "tokenizer.ggml.tokens is not a list of strings",
           tokens_and("tokenizer.ggml.tokens", kU8, 2, "ab")),
      gguf("GgufScoresAreBytes", "a list of 2 numbers",
           tokens_and("tokenizer.ggml.scores", kU8, 2, "ab")),
      gguf("GgufScoresTooFew", "a list of 2 numbers",
           tokens_and("tokenizer.ggml.scores", kF32, 1, "abcd")),
      gguf("GgufTypesTooFew", "a list of 2 integers",
           tokens_and("tokenizer.ggml.token_type", kI32, 1, "abcd")),
      gguf("GgufMergesAreNumbers", "tokenizer.ggml.merges is not a list of strings",
           tokens_and("tokenizer.ggml.merges", kI8, 1, "a")),
  };
}

std::vector<MalformedFile> files_of_other_kinds() {
  return {
      no_file("PathMissing", "No such file", [](const std::string&) {}),
      no_file("PathDirectory", "no config.json",
              [](const std::string& path) { fs::create_directory(path); }),
      no_file("PathFifo", "not a regular file",
              [](const std::string& path) { ::mkfifo(path.c_str(), 0600); }),
      no_file("PathLoop", "symbolic links",
              [](const std::string& path) { fs::create_symlink(path, path); }),
      no_file("PathEndless", "not a regular file",
              [](const std::string& path) { fs::create_symlink("/dev/zero", path); }),
  };
}

}  // namespace dunlin
