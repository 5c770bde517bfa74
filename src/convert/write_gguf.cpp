#include "convert/write_gguf.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <filesystem>
#include <map>
#include <optional>
#include <span>

#include "checkpoint/gguf_writer.h"
#include "convert/gguf_header.h"
#include "convert/resume_key.h"

namespace dunlin {
namespace {

// ggml.h, GGML_QNT_VERSION: of the block layouts.
constexpr uint32_t kQuantizationVersion = 2;

// Nothing of the user's that is not a GGUF file is replaced, nor what is being read.
Result<void> check_target(const std::string& path, const std::vector<TensorPlan>& tensors) {
  std::error_code ignored;
  if (!std::filesystem::is_regular_file(path, ignored)) return {};
  for (const TensorPlan& tensor : tensors) {
    if (std::filesystem::equivalent(path, tensor.view.source->name(), ignored))
      return usage_error(fmt::format("{}: the model is read from this file", path));
  }
  DUNLIN_ASSIGN_OR_RETURN(const auto file, open_file(path));
  std::array<char, 4> magic = {};
  const bool gguf = file->read_at(0, std::as_writable_bytes(std::span(magic))).ok() &&
                    std::string_view(magic.data(), magic.size()) == "GGUF";
  if (gguf || file->size() == 0) return {};
  return usage_error(fmt::format("{}: is there and is not a GGUF file", path));
}

void add_keys(const GgufKeys& keys, GgufWriter& writer) {
  writer.set_u32("general.quantization_version", kQuantizationVersion);
  if (keys.file_type) writer.set_u32("general.file_type", *keys.file_type);
  if (keys.imatrix == nullptr) return;
  writer.set_text("quantize.imatrix.file", keys.imatrix_file);
  if (!keys.imatrix->datasets.empty())
    writer.set_text("quantize.imatrix.dataset", keys.imatrix->datasets.front());
  writer.set_u32("quantize.imatrix.entries_count",
                 static_cast<uint32_t>(keys.imatrix->columns.size()));
  writer.set_u32("quantize.imatrix.chunks_count", static_cast<uint32_t>(keys.imatrix->chunks));
}

// Two tensors that come next, from one reading of `both`.
Result<void> write_both(const TensorPlan& even, const TensorPlan& odd, const WeightView& both,
                        GgufWriter& writer, TensorStream& stream, TensorProgress& progress) {
  DUNLIN_RETURN_IF_ERROR(stream.write_both(
      even, odd, both, [&](size_t number, std::span<const std::byte> bytes) -> Result<void> {
        DUNLIN_RETURN_IF_ERROR(number == 0 ? writer.write(bytes) : writer.write_ahead(bytes));
        return progress.add_bytes(bytes.size());
      }));
  progress.finish_tensor();
  progress.finish_tensor();
  return {};
}

Result<void> write_data(const std::vector<TensorPlan>& tensors, GgufWriter& writer,
                        ThreadPool& pool, TensorProgress& progress) {
  DUNLIN_RETURN_IF_ERROR(writer.begin_data());
  TensorStream stream(pool);
  for (size_t i = 0; i < tensors.size(); ++i) {
    DUNLIN_ASSIGN_OR_RETURN(const bool there, writer.skip_tensor());
    if (there) {
      DUNLIN_RETURN_IF_ERROR(progress.add_left_over(tensors[i]));
      continue;
    }
    const bool last = i + 1 == tensors.size();
    const auto both = last ? std::nullopt : source_of_both(tensors[i], tensors[i + 1]);
    if (!both) {
      DUNLIN_RETURN_IF_ERROR(write_tensor(tensors[i], writer, stream, progress));
      continue;
    }
    DUNLIN_RETURN_IF_ERROR(write_both(tensors[i], tensors[i + 1], *both, writer, stream, progress));
    ++i;
  }
  return writer.finish();
}

}  // namespace

uint32_t float_file_type(const std::vector<TensorPlan>& tensors) {
  constexpr uint32_t kF32 = 0;
  constexpr uint32_t kF16 = 1;
  constexpr uint32_t kBf16 = 32;
  std::map<Format, int64_t> elements;
  for (const TensorPlan& tensor : tensors) elements[tensor.format] += tensor.elements();
  const int64_t f16 = elements[Format::f16];
  const int64_t bf16 = elements[Format::bf16];
  if (elements[Format::f32] >= std::max(f16, bf16)) return kF32;
  return f16 > bf16 ? kF16 : kBf16;
}

Result<size_t> write_gguf(const Checkpoint& checkpoint, const std::vector<TensorPlan>& tensors,
                          const GgufKeys& keys, const std::string& path, ThreadPool& pool,
                          const ConvertProgress& progress) {
  DUNLIN_RETURN_IF_ERROR(check_target(path, tensors));
  DUNLIN_ASSIGN_OR_RETURN(GgufWriter writer, GgufWriter::create(path, resume_key(tensors, "gguf")));
  DUNLIN_RETURN_IF_ERROR(add_gguf_header(checkpoint, writer));
  add_keys(keys, writer);
  for (const TensorPlan& tensor : tensors)
    writer.add_tensor(tensor.name, tensor.shape, tensor.format);
  TensorProgress done(tensors, progress);
  if (const auto written = write_data(tensors, writer, pool, done); !written.ok()) {
    if (!may_pass_later(written.error())) writer.file().discard();
    return writer.file().keeps_parts() ? resumable_error(written.error(), writer.file().temporary())
                                       : written.error();
  }
  return done.left_over();
}

}  // namespace dunlin
