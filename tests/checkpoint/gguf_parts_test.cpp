// Split GGUF files: the parts make the model of the whole file, and each way in which they do not
// belong together is an error that names the file.
#include "checkpoint/gguf_parts.h"

#include <gtest/gtest.h>

#include "tiny_model.h"

namespace dunlin {
namespace {

using Files = std::map<std::string, std::string>;

std::string name_of(int number, int count) {
  return "folder/tiny-0000" + std::to_string(number) + "-of-0000" + std::to_string(count) + ".gguf";
}

void set_place(GgufBuilder& builder, uint16_t index, uint16_t count) {
  builder.set("split.no", kU16, raw(index)).set("split.count", kU16, raw(count));
}

// The tiny model's tensors dealt to three parts; the first has the keys, and none of the tensors
// when `keys_only`.
std::vector<GgufBuilder> three_parts(bool keys_only = false) {
  const GgufBuilder whole = tiny_gguf();
  std::vector<GgufBuilder> parts(3);
  parts[0] = whole;
  parts[0].tensors.clear();
  parts[0].set("split.tensors.count", kI32, raw(static_cast<int32_t>(whole.tensors.size())));
  for (size_t i = 0; i < whole.tensors.size(); ++i) {
    parts[keys_only ? 1 + i % 2 : i % 3].tensors.push_back(whole.tensors[i]);
  }
  for (uint16_t i = 0; i < 3; ++i) set_place(parts[i], i, 3);
  return parts;
}

Files files_of(const std::vector<GgufBuilder>& parts) {
  Files files;
  for (size_t i = 0; i < parts.size(); ++i) {
    files[name_of(static_cast<int>(i) + 1, static_cast<int>(parts.size()))] = parts[i].build();
  }
  return files;
}

Result<std::unique_ptr<Checkpoint>> open(const Files& files,
                                         const std::string& first = name_of(1, 3)) {
  const OpenPart open_part =
      [files](const std::string& path) -> Result<std::shared_ptr<const ByteSource>> {
    const auto file = files.find(path);
    if (file == files.end()) return model_error(path + ": No such file or directory");
    return source_of(file->second, path);
  };
  return open_gguf(*open_part(first), open_part);
}

void expect_parts_error(const Files& files, int named, const std::string& problem) {
  expect_model_error([&] { return open(files); }, name_of(named, 3), problem);
}

void expect_same_model(const Checkpoint& actual) {
  const auto whole = open_gguf_bytes(tiny_gguf().build());
  ASSERT_TRUE(whole.ok()) << whole.error().message;
  EXPECT_EQ(actual.config().values(), (*whole)->config().values());
  EXPECT_EQ(actual.tensors().size(), (*whole)->tensors().size());
  for (const TensorInfo& tensor : (*whole)->tensors()) {
    if (tensor.canonical_name.empty()) continue;
    EXPECT_EQ(weight_values(actual, tensor.canonical_name),
              weight_values(**whole, tensor.canonical_name))
        << tensor.name;
  }
}

TEST(GgufParts, MakeTheModelOfTheWholeFile) {
  for (const bool keys_only : {false, true}) {
    const auto model = open(files_of(three_parts(keys_only)));
    ASSERT_TRUE(model.ok()) << model.error().message;
    expect_same_model(**model);
    EXPECT_EQ((*model)->tensors().back().file, name_of(3, 3));
  }
}

TEST(GgufParts, OnePartOfOneIsTheWholeFile) {
  GgufBuilder builder = tiny_gguf();
  set_place(builder, 0, 1);
  const auto model = open({{"any name", builder.build()}}, "any name");
  ASSERT_TRUE(model.ok()) << model.error().message;
  expect_same_model(**model);
}

TEST(GgufParts, DivisorsAreReadFromTheirOwnPart) {
  std::vector<GgufBuilder> parts = three_parts();
  const std::vector<float> divisors = {1.0f, 2.0f, 4.0f};
  parts[2].tensors.push_back({"rope_freqs.weight", {3}, 0, raw_floats(divisors)});
  parts[0].without("split.tensors.count");
  const auto model = open(files_of(parts));
  ASSERT_TRUE(model.ok()) << model.error().message;
  EXPECT_EQ(std::get<std::vector<double>>(*(*model)->config().find("rope_freq_divisors")),
            (std::vector<double>{1.0, 2.0, 4.0}));
}

TEST(GgufParts, MissingPart) {
  Files files = files_of(three_parts());
  files.erase(name_of(2, 3));
  expect_parts_error(files, 2,
                     "No such file or directory (part 2 of 3 of the model that " + name_of(1, 3));
}

TEST(GgufParts, APartUnderAnothersName) {
  Files files = files_of(three_parts());
  files[name_of(3, 3)] = files[name_of(2, 3)];
  expect_parts_error(files, 3, "its keys say part 2 of 3, not 3 of 3");
}

TEST(GgufParts, APartOfAnotherSplit) {
  std::vector<GgufBuilder> parts = three_parts();
  set_place(parts[1], 1, 4);
  expect_parts_error(files_of(parts), 2, "its keys say part 2 of 4, not 2 of 3");
}

TEST(GgufParts, AFileThatIsNotSplit) {
  Files files = files_of(three_parts());
  files[name_of(2, 3)] = tiny_gguf().build();
  expect_parts_error(files, 2, "its keys say part 1 of 1, not 2 of 3");
}

TEST(GgufParts, ATensorInTwoParts) {
  std::vector<GgufBuilder> parts = three_parts();
  parts[2].tensors.push_back(parts[0].tensors[0]);
  expect_parts_error(files_of(parts), 3, "is in " + name_of(1, 3) + " too");
}

TEST(GgufParts, AnotherNumberOfTensors) {
  std::vector<GgufBuilder> parts = three_parts();
  parts[1].tensors.pop_back();
  expect_parts_error(files_of(parts), 1, "split.tensors.count is ");
}

TEST(GgufParts, APartThatWasCut) {
  const std::vector<GgufBuilder> parts = three_parts();
  for (const int number : {1, 2, 3}) {
    const auto expect_error = [&parts, number](size_t length, const char* problem) {
      Files files = files_of(parts);
      files[name_of(number, 3)].resize(length);
      expect_parts_error(files, number, problem);
    };
    const GgufBuilder& part = parts[static_cast<size_t>(number) - 1];
    const size_t header = part.header().size();
    const size_t whole = part.build().size();
    expect_error(header / 2, " bytes");
    for (const size_t length : {header, (header + whole) / 2, whole - 32})
      expect_error(length, "beyond the file's");
  }
}

TEST(GgufParts, APartThatIsNoGgufFile) {
  Files files = files_of(three_parts());
  files[name_of(2, 3)] = "text";
  expect_parts_error(files, 2, "not a GGUF file");
}

TEST(GgufParts, AnIndexBeyondTheCount) {
  std::vector<GgufBuilder> parts = three_parts();
  set_place(parts[1], 3, 3);
  expect_parts_error(files_of(parts), 2, "split.no");
}

TEST(GgufParts, AnotherPartThanTheFirstIsNamed) {
  std::vector<GgufBuilder> parts = three_parts();
  const Files files = files_of(parts);
  expect_model_error([&] { return open(files, name_of(2, 3)); }, name_of(2, 3),
                     "part 2 of 3; name the first part, " + name_of(1, 3));
}

TEST(GgufParts, ANameThatIsNotAParts) {
  const std::string bytes = three_parts()[0].build();
  for (const char* name : {"tiny.gguf", "x", "tiny-00001-of-00002.gguf", "tiny-00002-of-00003.gguf",
                           "tiny-0001-of-0003.gguf"}) {
    expect_model_error([&] { return open({{name, bytes}}, name); }, name,
                       "ends in -00001-of-00003.gguf");
  }
}

}  // namespace
}  // namespace dunlin
