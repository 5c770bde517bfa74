#include "checkpoint/fingerprint.h"

#include <fmt/format.h>
#include <sys/stat.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <string>
#include <variant>
#include <vector>

#include "checkpoint/prepared_files.h"
#include "checkpoint/xxh3_hash.h"

namespace dunlin {
namespace {

constexpr uint64_t kSampleBytes = 4096;

void add_config(Xxh3Hash& hash, const Metadata& config) {
  for (const auto& [key, value] : config.values()) {
    hash.text(key);
    hash.number(value.index());
    std::visit(
        [&hash](const auto& each) {
          using T = std::decay_t<decltype(each)>;
          if constexpr (std::is_arithmetic_v<T>) {
            hash.number(each);
          } else if constexpr (std::is_same_v<T, std::string>) {
            hash.text(each);
          } else {
            hash.list(each);
          }
        },
        value);
  }
}

Result<void> add_samples(Xxh3Hash& hash, const WeightView& weight) {
  if (weight.scales != nullptr) hash.list(weight.scales->values);
  const RowForm stored = {&traits(weight.format), weight.columns,
                          weight.scales == nullptr ? weight.scale_columns : 0};
  // Rows in turn with those of another weight lie as far as those of both.
  const auto bytes = static_cast<uint64_t>(weight.rows * weight.row_map.stride * stored.bytes());
  const uint64_t sample = std::min(bytes, kSampleBytes);
  const uint64_t last = bytes - sample;
  const auto first = std::min(last, static_cast<uint64_t>(weight.row_map.offset * stored.bytes()));
  std::vector<std::byte> data(sample);
  for (const uint64_t from : {first, last / 2, last}) {
    DUNLIN_RETURN_IF_ERROR(weight.source->read_at(weight.offset + from, data));
    hash.bytes(data);
  }
  return {};
}

// In the order of the tensors.
std::vector<std::string> files_of(const Checkpoint& checkpoint) {
  std::vector<std::string> files;
  const auto add = [&files](const std::string& file) {
    if (std::ranges::find(files, file) == files.end()) files.push_back(file);
  };
  for (const TensorInfo& tensor : checkpoint.tensors()) {
    add(tensor.file);
    if (tensor.exponents) add(tensor.exponents->file);
  }
  if (const auto prepared = checkpoint.prepared_files()) {
    for (const PreparedFiles::File& file : prepared->files()) add(file.path);
  }
  return files;
}

}  // namespace

Result<std::string> fingerprint(const Checkpoint& checkpoint) {
  if (const auto prepared = checkpoint.prepared_files()) return prepared->fingerprint();
  Xxh3Hash hash;
  hash.text(checkpoint.container());
  add_config(hash, checkpoint.config());
  for (const WeightInfo& weight : checkpoint.weights()) {
    hash.text(weight.name);
    hash.list(weight.shape);
    hash.text(traits(weight.format).name);
    DUNLIN_ASSIGN_OR_RETURN(const WeightView view, checkpoint.weight(weight.name));
    DUNLIN_RETURN_IF_ERROR(add_samples(hash, view));
  }
  return hash.digits();
}

Result<std::string> file_fingerprint(const Checkpoint& checkpoint) {
  DUNLIN_ASSIGN_OR_RETURN(const std::string contents, fingerprint(checkpoint));
  Xxh3Hash hash;
  hash.text(contents);
  for (const std::string& file : files_of(checkpoint)) {
    struct stat info = {};
    if (::stat(file.c_str(), &info) != 0)
      return model_error(fmt::format("{}: {}", file, std::strerror(errno)));
    hash.number(info.st_size);
    hash.number(info.st_ino);
    hash.number(info.st_mtim.tv_sec);
    hash.number(info.st_mtim.tv_nsec);
  }
  return hash.digits();
}

}  // namespace dunlin
