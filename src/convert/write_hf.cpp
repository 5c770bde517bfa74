#include "convert/write_hf.h"

#include <fmt/format.h>

#include <nlohmann/json.hpp>
#include <span>

#include "base/atomic_folder.h"
#include "base/log.h"
#include "checkpoint/chat_template_source.h"
#include "checkpoint/safetensors_writer.h"
#include "convert/hf_config_text.h"
#include "convert/hf_tokenizer.h"

namespace dunlin {
namespace {

Result<void> write_text(const std::string& path, const std::string& text) {
  return write_file_atomically(path, std::as_bytes(std::span(text)));
}

Result<void> write_tokenizer(const Checkpoint& checkpoint, const std::string& folder) {
  if (!checkpoint.header().has("tokenizer.ggml.model")) {
    log_warning(checkpoint.path() + ": no tokenizer, so the directory has none");
    return {};
  }
  DUNLIN_ASSIGN_OR_RETURN(TokenizerParts parts, parse_gguf_tokenizer(checkpoint.header()));
  std::optional<std::string> chat_template;
  if (auto source = chat_template_source(checkpoint); source.ok())
    chat_template = *std::move(source);
  DUNLIN_RETURN_IF_ERROR(write_text(folder + "/tokenizer_config.json",
                                    hf_tokenizer_config_text(parts, chat_template)));
  DUNLIN_ASSIGN_OR_RETURN(const std::string text, hf_tokenizer_text(std::move(parts)));
  return write_text(folder + "/tokenizer.json", text);
}

Result<void> write_configs(const Metadata& config, Format dtype, const std::string& folder) {
  DUNLIN_ASSIGN_OR_RETURN(const std::string text, hf_config_text(config, dtype));
  DUNLIN_RETURN_IF_ERROR(write_text(folder + "/config.json", text));
  const auto generation = hf_generation_config_text(config);
  return generation ? write_text(folder + "/generation_config.json", *generation) : Result<void>();
}

using Shard = std::span<const TensorPlan>;

// As many tensors as fit `most` bytes, one at least.
std::vector<Shard> shards_of(Shard tensors, uint64_t most) {
  std::vector<Shard> shards;
  size_t begin = 0;
  uint64_t bytes = 0;
  for (size_t i = 0; i < tensors.size(); ++i) {
    if (i > begin && bytes + tensors[i].bytes() > most) {
      shards.push_back(tensors.subspan(begin, i - begin));
      begin = i;
      bytes = 0;
    }
    bytes += tensors[i].bytes();
  }
  shards.push_back(tensors.subspan(begin));
  return shards;
}

std::string shard_name(size_t index, size_t count) {
  if (count == 1) return "model.safetensors";
  return fmt::format("model-{:05}-of-{:05}.safetensors", index + 1, count);
}

std::string index_text(const std::vector<Shard>& shards, uint64_t total) {
  nlohmann::json map = nlohmann::json::object();
  for (size_t i = 0; i < shards.size(); ++i) {
    for (const TensorPlan& tensor : shards[i]) map[tensor.name] = shard_name(i, shards.size());
  }
  return nlohmann::json{{"metadata", {{"total_size", total}}}, {"weight_map", map}}.dump(2) + '\n';
}

class ShardWriter {
 public:
  ShardWriter(uint64_t total, ThreadPool& pool, const ConvertProgress& progress)
      : total_(total), stream_(pool), progress_(progress) {}

  Result<void> write(const std::string& path, Shard tensors) {
    DUNLIN_ASSIGN_OR_RETURN(SafetensorsWriter writer, SafetensorsWriter::create(path));
    for (const TensorPlan& tensor : tensors)
      writer.add_tensor(tensor.name, tensor.shape, tensor.format);
    DUNLIN_RETURN_IF_ERROR(writer.begin_data());
    for (const TensorPlan& tensor : tensors) {
      DUNLIN_RETURN_IF_ERROR(
          stream_.write(tensor, [&](std::span<const std::byte> bytes) -> Result<void> {
            DUNLIN_RETURN_IF_ERROR(writer.write(bytes));
            done_ += bytes.size();
            return progress_(done_, total_);
          }));
    }
    return writer.finish();
  }

 private:
  uint64_t total_;
  uint64_t done_ = 0;
  TensorStream stream_;
  const ConvertProgress& progress_;
};

}  // namespace

Result<void> write_hf(const Checkpoint& checkpoint, const HfTensors& tensors,
                      const std::string& path, uint64_t shard_bytes, ThreadPool& pool,
                      const ConvertProgress& progress) {
  DUNLIN_ASSIGN_OR_RETURN(AtomicFolder folder, AtomicFolder::create(path));
  const std::string& inside = folder.temporary();
  DUNLIN_RETURN_IF_ERROR(write_configs(checkpoint.config(), tensors.dtype, inside));
  DUNLIN_RETURN_IF_ERROR(write_tokenizer(checkpoint, inside));
  uint64_t total = 0;
  for (const TensorPlan& tensor : tensors.tensors) total += tensor.bytes();
  const std::vector<Shard> shards = shards_of(tensors.tensors, shard_bytes);
  ShardWriter writer(total, pool, progress);
  for (size_t i = 0; i < shards.size(); ++i) {
    DUNLIN_RETURN_IF_ERROR(writer.write(inside + "/" + shard_name(i, shards.size()), shards[i]));
  }
  if (shards.size() > 1) {
    DUNLIN_RETURN_IF_ERROR(
        write_text(inside + "/model.safetensors.index.json", index_text(shards, total)));
  }
  return folder.commit();
}

}  // namespace dunlin
