// Writes a GGUF file whose matrices are encoded again, to measure what a format costs (docs/formats.md).
//   requantize SOURCE.gguf OUT.gguf FORMAT            every matrix in FORMAT where its blocks divide
//                                                     a row, otherwise as it is
//   requantize SOURCE.gguf OUT.gguf --like OTHER.gguf every tensor in the format it has in OTHER
//   requantize SOURCE.gguf OUT.gguf --dither          F32, with uniform noise as wide as one step of
//                                                     SOURCE's integers: a stand-in for the weights
//                                                     before they were quantised, where only the
//                                                     quantised model is at hand. Its own format
//                                                     would otherwise lose nothing.
#include <fmt/format.h>

#include <algorithm>
#include <cstdio>
#include <map>
#include <random>
#include <string>
#include <vector>

#include "checkpoint/gguf_reader.h"
#include "checkpoint/gguf_writer.h"

namespace dunlin {
namespace {

constexpr int64_t kPieceElements = 1 << 20;

using Formats = std::map<std::string, Format>;

Result<Formats> formats_like(const std::string& path) {
  DUNLIN_ASSIGN_OR_RETURN(const auto source, open_file(path));
  DUNLIN_ASSIGN_OR_RETURN(const GgufHeader header, read_gguf_header(*source));
  Formats formats;
  for (const TensorInfo& tensor : header.tensors) formats[tensor.name] = tensor.format;
  return formats;
}

Result<Formats> formats_of(const GgufHeader& header, const std::string& name) {
  const auto format = parse_format(name);
  if (!format) return usage_error("there is no format " + name);
  Formats formats;
  for (const TensorInfo& tensor : header.tensors) {
    const bool fits = tensor.shape.back() % traits(*format).block_elements == 0;
    formats[tensor.name] = tensor.shape.size() >= 2 && fits ? *format : tensor.format;
  }
  return formats;
}

void add_noise(const FormatTraits& from, const std::vector<std::byte>& stored,
               std::vector<float>& values, std::mt19937& random) {
  const size_t groups = values.size() / static_cast<size_t>(from.group);
  std::vector<int8_t> codes(values.size());
  std::vector<float> scales(groups);
  std::vector<float> mins(groups);
  from.decode_groups(stored.data(), static_cast<int64_t>(values.size()), codes.data(),
                     scales.data(), mins.data());
  for (size_t i = 0; i < values.size(); ++i) {
    const float uniform = static_cast<float>(random() >> 8) * 0x1p-24f - 0.5f;
    values[i] += uniform * scales[i / static_cast<size_t>(from.group)];
  }
}

// `noise`: nullptr without dither.
Result<void> write_tensor(const ByteSource& source, const TensorInfo& tensor, Format format,
                          std::mt19937* noise, GgufWriter& writer) {
  const FormatTraits& from = traits(tensor.format);
  const FormatTraits& to = traits(format);
  const int64_t columns = tensor.shape.back();
  const int64_t rows = static_cast<int64_t>(tensor.bytes) / row_bytes(from, columns);
  const int64_t step = std::max<int64_t>(1, kPieceElements / columns);
  for (int64_t row = 0; row < rows; row += step) {
    const int64_t elements = std::min(step, rows - row) * columns;
    std::vector<std::byte> stored(static_cast<size_t>(row_bytes(from, elements)));
    const int64_t offset = row * row_bytes(from, columns);
    DUNLIN_RETURN_IF_ERROR(source.read_at(tensor.offset + static_cast<uint64_t>(offset), stored));
    if (format != tensor.format) {
      std::vector<float> values(static_cast<size_t>(elements));
      from.decode(stored.data(), elements, values.data());
      if (noise != nullptr && from.group > 0) add_noise(from, stored, values, *noise);
      stored.resize(static_cast<size_t>(row_bytes(to, elements)));
      to.encode(values.data(), elements, nullptr, stored.data());
    }
    DUNLIN_RETURN_IF_ERROR(writer.write(stored));
  }
  return {};
}

Result<void> requantize(const std::string& from, const std::string& to, bool like, bool dither,
                        const std::string& what) {
  DUNLIN_ASSIGN_OR_RETURN(const auto source, open_file(from));
  DUNLIN_ASSIGN_OR_RETURN(const GgufHeader header, read_gguf_header(*source));
  DUNLIN_ASSIGN_OR_RETURN(Formats formats, like ? formats_like(what) : formats_of(header, what));
  DUNLIN_ASSIGN_OR_RETURN(GgufWriter writer, GgufWriter::create(to));
  for (const GgufPair& pair : header.pairs) {
    std::vector<std::byte> value(pair.bytes);
    DUNLIN_RETURN_IF_ERROR(source->read_at(pair.offset, value));
    writer.set_stored(pair.key, value);
  }
  for (const TensorInfo& tensor : header.tensors) {
    const auto format = formats.try_emplace(tensor.name, tensor.format).first->second;
    writer.add_tensor(tensor.name, tensor.shape, format);
  }
  DUNLIN_RETURN_IF_ERROR(writer.begin_data());
  std::mt19937 random(1);
  for (const TensorInfo& tensor : header.tensors) {
    DUNLIN_RETURN_IF_ERROR(
        write_tensor(*source, tensor, formats[tensor.name], dither ? &random : nullptr, writer));
  }
  return writer.finish();
}

}  // namespace
}  // namespace dunlin

int main(int argc, char** argv) {
  const bool like = argc == 5 && std::string(argv[3]) == "--like";
  const bool dither = argc == 4 && std::string(argv[3]) == "--dither";
  if (argc != 4 && !like) {
    fmt::print(stderr,
               "usage: requantize SOURCE.gguf OUT.gguf FORMAT|--like OTHER.gguf|--dither\n");
    return 2;
  }
  const auto done =
      dunlin::requantize(argv[1], argv[2], like, dither, dither ? "F32" : argv[argc - 1]);
  if (done.ok()) return 0;
  fmt::print(stderr, "error: {}\n", done.error().message);
  return static_cast<int>(done.error().kind);
}
