#include "convert/write_hf.h"

#include <fmt/format.h>

#include <algorithm>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <span>
#include <string_view>
#include <utility>

#include "base/atomic_folder.h"
#include "base/disk_space.h"
#include "base/json_document.h"
#include "base/log.h"
#include "base/owned_json.h"
#include "checkpoint/chat_template_source.h"
#include "checkpoint/safetensors_writer.h"
#include "convert/hf_config_text.h"
#include "convert/hf_tokenizer.h"
#include "convert/resume_key.h"

namespace dunlin {
namespace {

constexpr uint64_t kMostTextBytes = 256u << 20;

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

// A configuration with another quantization_config, or without one.
Result<std::string> with_quantization(const std::string& text, const std::string& origin,
                                      const std::string& quantization) {
  DUNLIN_ASSIGN_OR_RETURN(OwnedJson<nlohmann::json> config, parse_json_object(text, origin));
  config.value.erase("quantization_config");
  if (!quantization.empty())
    config.value["quantization_config"] = nlohmann::json::parse(quantization);
  return config.value.dump(2) + '\n';
}

Result<void> write_configs(const Metadata& config, const HfTensors& tensors,
                           const std::string& folder) {
  DUNLIN_ASSIGN_OR_RETURN(std::string text, hf_config_text(config, tensors.dtype));
  if (!tensors.quantization.empty()) {
    DUNLIN_ASSIGN_OR_RETURN(text, with_quantization(text, config.origin(), tensors.quantization));
  }
  DUNLIN_RETURN_IF_ERROR(write_text(folder + "/config.json", text));
  const auto generation = hf_generation_config_text(config);
  return generation ? write_text(folder + "/generation_config.json", *generation) : Result<void>();
}

// All but the weights of a Hugging Face directory: other keys of its configuration than those read
// here are kept.
Result<void> copy_text_side(const std::string& from, const HfTensors& tensors,
                            const std::string& folder) {
  const std::string config = from + "/config.json";
  DUNLIN_ASSIGN_OR_RETURN(const std::string text, read_text_file(config, kMostTextBytes));
  DUNLIN_ASSIGN_OR_RETURN(const std::string changed,
                          with_quantization(text, config, tensors.quantization));
  DUNLIN_RETURN_IF_ERROR(write_text(folder + "/config.json", changed));
  for (const char* name :
       {"generation_config.json", "tokenizer.json", "tokenizer_config.json", "chat_template.jinja",
        "special_tokens_map.json", "added_tokens.json", "vocab.json", "merges.txt"}) {
    std::error_code ignored;
    if (!std::filesystem::exists(from + "/" + name, ignored)) continue;
    DUNLIN_ASSIGN_OR_RETURN(const std::string copied,
                            read_text_file(from + "/" + name, kMostTextBytes));
    DUNLIN_RETURN_IF_ERROR(write_text(folder + "/" + name, copied));
  }
  return {};
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
  ShardWriter(std::string key, ThreadPool& pool, TensorProgress& progress)
      : key_(std::move(key)), stream_(pool), progress_(progress) {}

  // A file of that name is whole.
  Result<void> write(const std::string& path, Shard tensors) {
    std::error_code ignored;
    if (std::filesystem::exists(path, ignored)) {
      ResumableFile::forget_parts(path);
      for (const TensorPlan& tensor : tensors)
        DUNLIN_RETURN_IF_ERROR(progress_.add_left_over(tensor));
      return {};
    }
    DUNLIN_ASSIGN_OR_RETURN(SafetensorsWriter writer, SafetensorsWriter::create(path, key_));
    const auto written = write_data(tensors, writer);
    if (!written.ok() && !may_pass_later(written.error())) writer.file().discard();
    return written;
  }

 private:
  Result<void> write_data(Shard tensors, SafetensorsWriter& writer) {
    for (const TensorPlan& tensor : tensors) {
      if (tensor.weights_in_byte) {
        writer.add_bytes(tensor.name, tensor.shape);
      } else {
        writer.add_tensor(tensor.name, tensor.shape, tensor.format);
      }
    }
    DUNLIN_RETURN_IF_ERROR(writer.begin_data());
    DUNLIN_RETURN_IF_ERROR(write_tensors(tensors, writer, stream_, progress_));
    return writer.finish();
  }

  std::string key_;
  TensorStream stream_;
  TensorProgress& progress_;
};

// What is not a tensor has some megabytes at most.
Result<void> check_space(const std::string& path, const AtomicFolder& folder, uint64_t total) {
  const uint64_t there = std::min(total, folder.left_bytes());
  return check_disk_space(path, folder.temporary(), total - there);
}

Result<void> fill(const Checkpoint& checkpoint, const HfTensors& tensors,
                  const std::vector<Shard>& shards, const std::string& folder, ShardWriter& writer,
                  uint64_t total) {
  if (std::string_view(checkpoint.container()) == "safetensors") {
    DUNLIN_RETURN_IF_ERROR(copy_text_side(checkpoint.path(), tensors, folder));
  } else {
    DUNLIN_RETURN_IF_ERROR(write_configs(checkpoint.config(), tensors, folder));
    DUNLIN_RETURN_IF_ERROR(write_tokenizer(checkpoint, folder));
  }
  for (size_t i = 0; i < shards.size(); ++i)
    DUNLIN_RETURN_IF_ERROR(writer.write(folder + "/" + shard_name(i, shards.size()), shards[i]));
  if (shards.size() == 1) return {};
  return write_text(folder + "/model.safetensors.index.json", index_text(shards, total));
}

}  // namespace

Result<size_t> write_hf(const Checkpoint& checkpoint, const HfTensors& tensors,
                        const std::string& path, uint64_t shard_bytes, ThreadPool& pool,
                        const ConvertProgress& progress) {
  const std::string key =
      resume_key(tensors.tensors, fmt::format("safetensors in shards of {}", shard_bytes));
  DUNLIN_ASSIGN_OR_RETURN(AtomicFolder folder, AtomicFolder::create(path, key));
  TensorProgress done(tensors.tensors, progress);
  DUNLIN_RETURN_IF_ERROR(check_space(path, folder, done.total()));
  ShardWriter writer(key, pool, done);
  auto written = fill(checkpoint, tensors, shards_of(tensors.tensors, shard_bytes),
                      folder.temporary(), writer, done.total());
  if (written.ok()) written = folder.commit();
  if (written.ok()) return done.left_over();
  const bool any = done.finished() > 0 || folder.left_bytes() > 0;
  const bool resumable = any && may_pass_later(written.error());
  folder.keep(resumable);
  return resumable ? resumable_error(written.error(), folder.temporary()) : written.error();
}

}  // namespace dunlin
