#include "checkpoint/safetensors_writer.h"

#include <algorithm>
#include <nlohmann/json.hpp>
#include <utility>

#include "base/check.h"

namespace dunlin {
namespace {

// Readers may map the file: the data begin at a multiple of the widest element.
// The format wants 8. With 64, tensors of whole cache lines begin at one, and can be used where they lie.
constexpr size_t kDataAlignment = 64;

uint64_t bytes_of(const std::vector<int64_t>& shape, int64_t element_bytes) {
  auto bytes = static_cast<uint64_t>(element_bytes);
  for (const int64_t extent : shape) bytes *= static_cast<uint64_t>(extent);
  return bytes;
}

}  // namespace

Result<SafetensorsWriter> SafetensorsWriter::create(const std::string& path,
                                                    const std::string& key) {
  DUNLIN_ASSIGN_OR_RETURN(ResumableFile file, ResumableFile::create(path, key));
  return SafetensorsWriter(std::move(file));
}

void SafetensorsWriter::add_tensor(const std::string& name, std::vector<int64_t> shape,
                                   Format format) {
  DUNLIN_CHECK(traits(format).is_plain() || traits(format).largest > 0.0f,
               "safetensors hold no blocks");
  // I8 has blocks of 32 bytes for 32 elements.
  const int64_t element_bytes = traits(format).block_bytes / traits(format).block_elements;
  tensors_.push_back({name, std::move(shape), traits(format).name, element_bytes});
}

void SafetensorsWriter::add_bytes(const std::string& name, std::vector<int64_t> shape) {
  tensors_.push_back({name, std::move(shape), "U8", 1});
}

Result<void> SafetensorsWriter::begin_data() {
  // Texts joined by hand: an ordered document would search its keys anew for every tensor.
  std::string text = R"({"__metadata__":{"format":"pt"})";
  uint64_t end = 0;
  for (Tensor& tensor : tensors_) {
    const uint64_t begin = std::exchange(end, end + bytes_of(tensor.shape, tensor.element_bytes));
    const nlohmann::json entry = {
        {"dtype", tensor.dtype}, {"shape", tensor.shape}, {"data_offsets", {begin, end}}};
    text += ',' + nlohmann::json(tensor.name).dump() + ':' + entry.dump();
    tensor.end = end;
  }
  text += '}';
  const size_t data =
      (sizeof(uint64_t) + text.size() + kDataAlignment - 1) / kDataAlignment * kDataAlignment;
  text.resize(data - sizeof(uint64_t), ' ');
  const uint64_t length = text.size();
  std::string header(reinterpret_cast<const char*>(&length), sizeof length);
  header += text;
  return file_.begin(std::as_bytes(std::span(header)), header.size() + end);
}

Result<bool> SafetensorsWriter::skip_tensor() {
  DUNLIN_CHECK(current_ < tensors_.size(), "all tensors are there");
  const uint64_t end = tensors_[current_].end;
  DUNLIN_ASSIGN_OR_RETURN(const bool there, file_.skip_part(end - written_));
  if (!there) return false;
  written_ = end;
  ++current_;
  return true;
}

Result<void> SafetensorsWriter::write(std::span<const std::byte> bytes) {
  while (!bytes.empty()) {
    DUNLIN_CHECK(current_ < tensors_.size(), "more bytes than the tensors have");
    const uint64_t left = tensors_[current_].end - written_;
    const auto piece = bytes.first(std::min<size_t>(bytes.size(), left));
    DUNLIN_RETURN_IF_ERROR(file_.write(piece));
    bytes = bytes.subspan(piece.size());
    written_ += piece.size();
    if (written_ < tensors_[current_].end) continue;
    DUNLIN_RETURN_IF_ERROR(file_.end_part());
    ++current_;
  }
  return {};
}

Result<void> SafetensorsWriter::finish() {
  DUNLIN_CHECK(current_ == tensors_.size(), "bytes of tensors are missing");
  return file_.commit();
}

}  // namespace dunlin
