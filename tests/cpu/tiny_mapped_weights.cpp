#include "tiny_mapped_weights.h"

#include <gtest/gtest.h>

#include <cstring>
#include <fstream>
#include <utility>
#include <vector>

#include "support/temporary_folder.h"

namespace dunlin {
namespace {

constexpr size_t kAlignment = 64;

// Of the parts in their order, each padded to the alignment.
std::vector<std::vector<std::byte>> packed_parts(WeightPacker& packer) {
  std::vector<std::vector<std::byte>> bytes(packer.parts().size());
  for (size_t part = 0; part < bytes.size(); ++part) {
    if (!bytes[part].empty()) continue;  // made with its companion
    const auto packed = packer.pack(part, [&](size_t of, std::span<const std::byte> piece) {
      bytes[of].insert(bytes[of].end(), piece.begin(), piece.end());
      return Result<void>();
    });
    EXPECT_TRUE(packed.ok()) << packed.error().message;
  }
  for (std::vector<std::byte>& each : bytes)
    each.resize((each.size() + kAlignment - 1) / kAlignment * kAlignment);
  return bytes;
}

}  // namespace

std::shared_ptr<const TinyMappedWeights> TinyMappedWeights::create(const Backend& backend,
                                                                   const TinyModel& model,
                                                                   Precision precision) {
  const auto packer =
      backend.packer(model.program, model.weights, {.precision = precision, .threads = 1}).value();
  const auto weights = std::make_shared<TinyMappedWeights>();
  weights->packing_ = backend.packing();
  const TemporaryFolder folder;  // the mapping outlives the file's name
  const std::string path = folder.file("weights");
  std::ofstream file(path, std::ios::binary);
  uint64_t offset = 0;
  const std::vector<std::vector<std::byte>> parts = packed_parts(*packer);
  for (size_t part = 0; part < parts.size(); ++part) {
    weights->offsets_[packer->parts()[part].name] = offset;
    file.write(reinterpret_cast<const char*>(parts[part].data()),
               static_cast<std::streamsize>(parts[part].size()));
    offset += parts[part].size();
  }
  file.close();
  weights->file_ = MappedFile::open(path).value();
  EXPECT_EQ(weights->file_.bytes().size(), offset);
  return weights;
}

const std::byte* TinyMappedWeights::find(const PreparedPart& part) const {
  const auto it = offsets_.find(part.name);
  return it == offsets_.end() ? nullptr : file_.bytes().data() + it->second;
}

Result<void> TinyMappedWeights::read(const PreparedPart& part, uint64_t piece,
                                     std::span<std::byte> into) const {
  const std::byte* const from = find(part);
  if (from == nullptr) return model_error("no part " + part.name);
  std::memcpy(into.data(), from + piece * piece_bytes(), into.size());
  return {};
}

CompileOptions offloaded_options(std::shared_ptr<const TinyMappedWeights> weights,
                                 Precision precision, int threads) {
  CompileOptions options = tiny_options(precision, threads);
  options.prepared = std::move(weights);
  options.load_mode = LoadMode::mmap;
  options.offload.on = true;
  return options;
}

}  // namespace dunlin
