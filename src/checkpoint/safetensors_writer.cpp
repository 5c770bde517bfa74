#include "checkpoint/safetensors_writer.h"

#include <nlohmann/json.hpp>

#include "base/check.h"

namespace dunlin {
namespace {

// Readers may map the file: the data begin at a multiple of the widest element.
constexpr size_t kAlignment = 8;

uint64_t bytes_of(const std::vector<int64_t>& shape, Format format) {
  auto bytes = static_cast<uint64_t>(traits(format).block_bytes);
  for (const int64_t extent : shape) bytes *= static_cast<uint64_t>(extent);
  return bytes;
}

}  // namespace

Result<SafetensorsWriter> SafetensorsWriter::create(const std::string& path) {
  DUNLIN_ASSIGN_OR_RETURN(AtomicFile file, AtomicFile::create(path));
  return SafetensorsWriter(std::move(file));
}

void SafetensorsWriter::add_tensor(const std::string& name, std::vector<int64_t> shape,
                                   Format format) {
  DUNLIN_CHECK(traits(format).block_elements == 1, "safetensors hold plain numbers");
  tensors_.push_back({name, std::move(shape), format});
}

Result<void> SafetensorsWriter::begin_data() {
  // Texts joined by hand: an ordered document would search its keys anew for every tensor.
  std::string header = R"({"__metadata__":{"format":"pt"})";
  for (const Tensor& tensor : tensors_) {
    const uint64_t end = left_ + bytes_of(tensor.shape, tensor.format);
    const nlohmann::json entry = {{"dtype", traits(tensor.format).name},
                                  {"shape", tensor.shape},
                                  {"data_offsets", {left_, end}}};
    header += ',' + nlohmann::json(tensor.name).dump() + ':' + entry.dump();
    left_ = end;
  }
  header += '}';
  header.resize((header.size() + kAlignment - 1) / kAlignment * kAlignment, ' ');
  const uint64_t length = header.size();
  DUNLIN_RETURN_IF_ERROR(file_.write(std::as_bytes(std::span(&length, 1))));
  return file_.write(std::as_bytes(std::span(header)));
}

Result<void> SafetensorsWriter::write(std::span<const std::byte> bytes) {
  DUNLIN_CHECK(bytes.size() <= left_, "more bytes than the tensors have");
  left_ -= bytes.size();
  return file_.write(bytes);
}

Result<void> SafetensorsWriter::finish() {
  DUNLIN_CHECK(left_ == 0, "bytes of tensors are missing");
  return file_.commit();
}

}  // namespace dunlin
