// fingerprint: what it tells apart, and what it does not look at.
#include "checkpoint/fingerprint.h"

#include <fmt/format.h>

#include <algorithm>
#include <fstream>
#include <map>
#include <set>
#include <sstream>

#include "checkpoint/hf_config.h"
#include "checkpoint/safetensors_reader.h"
#include "checkpoint/stored_checkpoint.h"
#include "tiny_model.h"

namespace dunlin {
namespace {

std::string fingerprint_of(const std::string& gguf) {
  return fingerprint(*open_gguf_bytes(gguf).value()).value();
}

std::string safetensors_fingerprint(const std::string& config,
                                    const std::map<std::string, TinyTensor>& stored) {
  const auto source = source_of(safetensors_file(stored), "model.safetensors");
  auto tensors = read_safetensors_header(*source).value();
  const size_t count = tensors.size();
  const auto checkpoint = make_checkpoint({"folder",
                                           "safetensors",
                                           read_hf_config({"config.json", config}, {}).value(),
                                           Metadata(),
                                           std::move(tensors),
                                           {count, source}});
  return fingerprint(*checkpoint.value()).value();
}

TEST(Fingerprint, IsTheSameForTheSameFileWhateverItsName) {
  const std::string bytes = tiny_gguf().build();
  const std::string digits = fingerprint_of(bytes);
  EXPECT_EQ(digits.size(), 32u);
  EXPECT_EQ(digits.find_first_not_of("0123456789abcdef"), std::string::npos);
  const auto moved = open_gguf(source_of(bytes, "/elsewhere/renamed.gguf"));
  EXPECT_EQ(fingerprint(**moved).value(), digits);
}

TEST(Fingerprint, DiffersWithConfigurationTensorsAndContainer) {
  std::set<std::string> seen;
  const auto expect_new = [&seen](const std::string& digits, const std::string& what) {
    EXPECT_TRUE(seen.insert(digits).second) << what;
  };
  expect_new(fingerprint_of(tiny_gguf().build()), "the model");
  expect_new(fingerprint_of(tiny_gguf("llama", true).build()), "biases");
  expect_new(fingerprint_of(tiny_gguf("llama", false, true).build()), "a tied head");
  expect_new(fingerprint_of(tiny_gguf("qwen2", true).build()), "the architecture");
  expect_new(fingerprint_of(tiny_gguf().u32("llama.context_length", 127).build()), "an integer");
  expect_new(fingerprint_of(tiny_gguf().f32("llama.rope.freq_base", 1e4f).build()), "a number");
  for (const uint32_t id : {3, 4})
    expect_new(fingerprint_of(tiny_gguf().u32("tokenizer.ggml.eos_token_id", id).build()),
               "a list");
  const auto tensors = tiny_tensors(false, false);
  expect_new(safetensors_fingerprint(tiny_config(), tensors), "the container");
  expect_new(safetensors_fingerprint(tiny_config("qwen2"), tensors), "a text");

  // The same bits of zero in another format.
  for (const uint32_t type : {0u, 1u}) {  // F32, F16
    GgufBuilder builder = tiny_gguf();
    GgufTensor& up = builder.tensor("blk.0.ffn_up.weight");
    up.type = type;
    up.data.assign(static_cast<size_t>(kIntermediate * kHidden) * (type == 0 ? 4 : 2), '\0');
    expect_new(fingerprint_of(builder.build()), "a format");
  }
}

// Tensors of the tiny model are smaller than a sample.
TEST(Fingerprint, DiffersWithEveryByteOfASmallTensor) {
  const std::string good = tiny_gguf().build();
  const std::string digits = fingerprint_of(good);
  const auto checkpoint = open_gguf_bytes(good).value();
  for (const TensorInfo& tensor : checkpoint->tensors()) {
    for (const uint64_t at : {uint64_t{0}, tensor.bytes / 2, tensor.bytes - 1}) {
      std::string changed = good;
      changed[tensor.offset + at] = static_cast<char>(changed[tensor.offset + at] ^ 1);
      EXPECT_NE(fingerprint_of(changed), digits) << tensor.name << " at " << at;
    }
  }
}

TEST(Fingerprint, LooksAtThreeSamplesOfALargeTensor) {
  std::ostringstream file;
  file << std::ifstream(DUNLIN_SOURCE_DIR "/tests/data/llama_plain/model.gguf", std::ios::binary)
              .rdbuf();
  const std::string good = file.str();
  const std::string digits = fingerprint_of(good);
  const auto checkpoint = open_gguf_bytes(good).value();
  const auto is_head = [](const TensorInfo& each) { return each.name == "output.weight"; };
  const TensorInfo& head = *std::ranges::find_if(checkpoint->tensors(), is_head);
  ASSERT_EQ(head.bytes, 40960u);
  const auto differs = [&](uint64_t at) {
    std::string changed = good;
    changed[head.offset + at] = static_cast<char>(changed[head.offset + at] ^ 1);
    return fingerprint_of(changed) != digits;
  };
  const uint64_t middle = (40960 - 4096) / 2;
  for (const uint64_t begin : {uint64_t{0}, middle, uint64_t{40960 - 4096}}) {
    EXPECT_TRUE(differs(begin)) << begin;
    EXPECT_TRUE(differs(begin + 4095)) << begin;
  }
  EXPECT_FALSE(differs(4096));
  EXPECT_FALSE(differs(middle - 1));
  EXPECT_FALSE(differs(middle + 4096));
}

TEST(Fingerprint, LooksAtNothingThatNoModelReads) {
  const std::string digits = fingerprint_of(tiny_gguf().build());
  EXPECT_EQ(fingerprint_of(tiny_gguf().text("general.name", "a name").build()), digits);
  // The head of a model whose embedding is its head.
  const std::string config = tiny_config("llama", false, true);
  auto tensors = tiny_tensors(false, false);
  const std::string with_head = safetensors_fingerprint(config, tensors);
  tensors.erase("lm_head.weight");
  EXPECT_EQ(safetensors_fingerprint(config, tensors), with_head);
}

// A source whose file becomes unreadable once it was opened.
class FailingSource final : public ByteSource {
 public:
  explicit FailingSource(const std::string& bytes) : inner_(source_of(bytes, "tiny.gguf")) {}

  Result<void> read_at(uint64_t offset, std::span<std::byte> into) const override {
    return failing ? model_error(name() + ": Input/output error") : inner_->read_at(offset, into);
  }
  uint64_t size() const override { return inner_->size(); }
  const std::string& name() const override { return inner_->name(); }

  bool failing = false;

 private:
  std::shared_ptr<const ByteSource> inner_;
};

TEST(Fingerprint, AFileThatCannotBeReadIsAnError) {
  const auto source = std::make_shared<FailingSource>(tiny_gguf().build());
  const auto checkpoint = open_gguf(source).value();
  EXPECT_TRUE(fingerprint(*checkpoint).ok());
  source->failing = true;
  const auto failed = fingerprint(*checkpoint);
  ASSERT_FALSE(failed.ok());
  EXPECT_EQ(failed.error().message, "tiny.gguf: Input/output error");
}

}  // namespace
}  // namespace dunlin
