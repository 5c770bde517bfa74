#include "convert/resume_key.h"

#include <filesystem>
#include <set>

#include "checkpoint/xxh3_hash.h"

namespace dunlin {
namespace {

namespace fs = std::filesystem;

// A path that names no file, as that of bytes in memory may, adds its name only.
void add_file(Xxh3Hash& hash, const std::string& path) {
  std::error_code error;
  const fs::path whole = fs::canonical(path, error);
  hash.text(error ? path : whole.string());
  if (!fs::is_regular_file(whole, error)) return;
  hash.number(uint64_t{fs::file_size(whole, error)});
  hash.number(int64_t{fs::last_write_time(whole, error).time_since_epoch().count()});
}

void add_tensor(Xxh3Hash& hash, const TensorPlan& tensor) {
  hash.text(tensor.name);
  hash.list(tensor.shape);
  hash.text(traits(tensor.format).name);
  hash.text(traits(tensor.view.format).name);
  hash.number(tensor.view.offset);
  hash.number(tensor.interleaved_head_dim);
  hash.list(tensor.importance);
  hash.number(uint8_t{tensor.scales});
  hash.number(tensor.weights_in_byte.value_or(-1));
  if (!tensor.scaling) return;
  hash.text(traits(tensor.scaling->format).name);
  hash.number(tensor.scaling->rows);
  hash.number(tensor.scaling->columns);
}

}  // namespace

std::string resume_key(std::span<const TensorPlan> tensors, std::string_view settings) {
  Xxh3Hash hash;
  hash.text(settings);
  std::set<std::string> files = {"/proc/self/exe"};
  for (const TensorPlan& tensor : tensors) {
    add_tensor(hash, tensor);
    files.insert(tensor.view.source->name());
  }
  for (const std::string& file : files) add_file(hash, file);
  return hash.digits();
}

}  // namespace dunlin
