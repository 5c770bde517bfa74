// Writes a GGUF file in F32 with uniform noise as wide as one step of SOURCE's integers: a stand-in
// for the weights before they were quantised, where only the quantised model is at hand. Its own
// format would otherwise lose nothing (docs/formats.md).
//   dither SOURCE.gguf OUT.gguf [SEED]
#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <cstdio>
#include <random>
#include <string>
#include <string_view>
#include <vector>

#include "checkpoint/gguf_reader.h"
#include "checkpoint/gguf_writer.h"

namespace dunlin {
namespace {

constexpr int64_t kPieceElements = 1 << 20;

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

Result<void> write_tensor(const ByteSource& source, const TensorInfo& tensor, std::mt19937& random,
                          GgufWriter& writer) {
  const FormatTraits& from = traits(tensor.format);
  const int64_t columns = tensor.shape.back();
  const int64_t rows = static_cast<int64_t>(tensor.bytes) / row_bytes(from, columns);
  const int64_t step = std::max<int64_t>(1, kPieceElements / columns);
  for (int64_t row = 0; row < rows; row += step) {
    const int64_t elements = std::min(step, rows - row) * columns;
    std::vector<std::byte> stored(static_cast<size_t>(row_bytes(from, elements)));
    const int64_t offset = row * row_bytes(from, columns);
    DUNLIN_RETURN_IF_ERROR(source.read_at(tensor.offset + static_cast<uint64_t>(offset), stored));
    std::vector<float> values(static_cast<size_t>(elements));
    from.decode(stored.data(), elements, values.data());
    if (from.group > 0) add_noise(from, stored, values, random);
    DUNLIN_RETURN_IF_ERROR(writer.write(std::as_bytes(std::span(values))));
  }
  return {};
}

// Tensors of floating-point formats get no noise.
Result<void> dither(const std::string& from, const std::string& to, uint32_t seed) {
  DUNLIN_ASSIGN_OR_RETURN(const auto source, open_file(from));
  DUNLIN_ASSIGN_OR_RETURN(const GgufHeader header, read_gguf_header(*source));
  DUNLIN_ASSIGN_OR_RETURN(GgufWriter writer, GgufWriter::create(to));
  for (const GgufPair& pair : header.pairs) {
    std::vector<std::byte> value(pair.bytes);
    DUNLIN_RETURN_IF_ERROR(source->read_at(pair.offset, value));
    writer.set_stored(pair.key, value);
  }
  for (const TensorInfo& tensor : header.tensors)
    writer.add_tensor(tensor.name, tensor.shape, Format::f32);
  DUNLIN_RETURN_IF_ERROR(writer.begin_data());
  std::mt19937 random(seed);
  for (const TensorInfo& tensor : header.tensors)
    DUNLIN_RETURN_IF_ERROR(write_tensor(*source, tensor, random, writer));
  return writer.finish();
}

}  // namespace
}  // namespace dunlin

int main(int argc, char** argv) {
  uint32_t seed = 1;
  const std::string_view text = argc == 4 ? argv[3] : "1";
  const auto read = std::from_chars(text.data(), text.data() + text.size(), seed);
  if (argc < 3 || argc > 4 || read.ec != std::errc() || read.ptr != text.data() + text.size()) {
    fmt::print(stderr, "usage: dither SOURCE.gguf OUT.gguf [SEED]\n");
    return 2;
  }
  const auto done = dunlin::dither(argv[1], argv[2], seed);
  if (done.ok()) return 0;
  fmt::print(stderr, "error: {}\n", done.error().message);
  return static_cast<int>(done.error().kind);
}
