#include "convert/write_prepared.h"

#include <fmt/format.h>

#include <algorithm>
#include <filesystem>
#include <span>
#include <utility>
#include <vector>

#include "artifact/writer.h"
#include "base/atomic_folder.h"
#include "base/disk_space.h"
#include "checkpoint/fingerprint.h"
#include "checkpoint/gguf_writer.h"
#include "checkpoint/prepared_manifest.h"
#include "checkpoint/text_directory.h"
#include "convert/gguf_header.h"
#include "convert/gguf_tensors.h"
#include "convert/resume_key.h"
#include "program/mesh.h"

namespace dunlin {
namespace {

namespace fs = std::filesystem;

constexpr uint64_t kMostCopiedBytes = 256u << 20;

// Parts [begin, end) of one file.
struct Span {
  size_t begin = 0;
  size_t end = 0;
};

// Parts that are made together are in one file, with those between them.
std::vector<Span> files_of(const WeightPacker& packer, uint64_t most) {
  const std::vector<PreparedPart>& parts = packer.parts();
  std::vector<Span> files;
  uint64_t bytes = 0;
  size_t together = 0;  // parts before this one stay with those before them
  for (size_t i = 0; i < parts.size(); ++i) {
    if (files.empty() || (i >= together && bytes + parts[i].bytes > most)) {
      files.push_back({i, i});
      bytes = 0;
    }
    files.back().end = i + 1;
    bytes += parts[i].bytes;
    if (const auto other = packer.companion(i)) together = std::max(together, *other + 1);
  }
  return files;
}

std::vector<Span> files_of(const std::vector<size_t>& parts_of_files) {
  std::vector<Span> files;
  size_t begin = 0;
  for (const size_t parts : parts_of_files) {
    files.push_back({begin, begin + parts});
    begin += parts;
  }
  return files;
}

// How the weights are laid out, and in which files.
struct Layout {
  std::string packing, precision, mesh, axes;
  std::vector<Span> files;
  std::string made;  // all that the bytes depend on beside the checkpoint, in one line
};

// What the weights depend on, for resume_key().
Result<std::vector<TensorPlan>> plans_of(const Checkpoint& checkpoint) {
  std::vector<TensorPlan> plans;
  for (const WeightInfo& weight : checkpoint.weights()) {
    DUNLIN_ASSIGN_OR_RETURN(WeightView view, checkpoint.weight(weight.name));
    const Format format = view.format;
    plans.push_back(
        {.name = weight.name, .shape = weight.shape, .view = std::move(view), .format = format});
  }
  return plans;
}

class PreparedWriter {
 public:
  PreparedWriter(const Checkpoint& checkpoint, WeightPacker& packer, const Layout& layout,
                 const ConvertProgress& progress)
      : checkpoint_(checkpoint), packer_(packer), layout_(layout), progress_(progress) {
    for (const PreparedPart& part : packer.parts()) total_ += part.bytes;
  }

  Result<size_t> write(const std::string& path) {
    DUNLIN_RETURN_IF_ERROR(check_complete(checkpoint_));
    DUNLIN_ASSIGN_OR_RETURN(const std::vector<TensorPlan> plans, plans_of(checkpoint_));
    DUNLIN_ASSIGN_OR_RETURN(manifest_.fingerprint, fingerprint(checkpoint_));
    manifest_.key = hash_of(manifest_.fingerprint + ' ' + layout_.made);
    DUNLIN_ASSIGN_OR_RETURN(AtomicFolder folder,
                            AtomicFolder::create(path, resume_key(plans, layout_.made)));
    DUNLIN_RETURN_IF_ERROR(
        check_disk_space(path, folder.temporary(), total_ - std::min(total_, folder.left_bytes())));
    auto written = fill(folder.temporary(), plans);
    if (written.ok()) written = folder.commit();
    if (written.ok()) return left_over_;
    const bool resumable = any_file_ && may_pass_later(written.error());
    folder.keep(resumable);
    return resumable ? resumable_error(written.error(), folder.temporary()) : written.error();
  }

 private:
  Result<void> fill(const std::string& folder, const std::vector<TensorPlan>& plans) {
    const std::vector<Span>& files = layout_.files;
    for (size_t i = 0; i < files.size(); ++i) {
      manifest_.weights.push_back(
          fmt::format("weights-{:05}-of-{:05}.dunlin", i + 1, files.size()));
      DUNLIN_RETURN_IF_ERROR(write_weights(folder + "/" + manifest_.weights.back(), files[i]));
    }
    DUNLIN_RETURN_IF_ERROR(write_text_side(folder));
    return write_manifest(folder, plans);
  }

  // A file of that name is whole.
  Result<void> write_weights(const std::string& path, Span parts) {
    std::error_code ignored;
    const bool there = fs::exists(path, ignored);
    if (!there) {
      DUNLIN_ASSIGN_OR_RETURN(
          ArtifactWriter writer,
          ArtifactWriter::create(path, {.kind = kWeightsKind, .key = manifest_.key}));
      DUNLIN_RETURN_IF_ERROR(write_parts(parts, writer));
      DUNLIN_RETURN_IF_ERROR(writer.commit());
    }
    any_file_ = true;
    if (!there) return {};
    left_over_ += parts.end - parts.begin;
    for (size_t i = parts.begin; i < parts.end; ++i) done_ += packer_.parts()[i].bytes;
    return progress_(done_, total_);
  }

  Result<void> write_parts(Span parts, ArtifactWriter& writer) {
    std::vector<size_t> chunks;
    for (size_t i = parts.begin; i < parts.end; ++i) {
      const PreparedPart& part = packer_.parts()[i];
      DUNLIN_ASSIGN_OR_RETURN(const size_t chunk, writer.reserve_chunk(part.name, part.bytes));
      chunks.push_back(chunk);
    }
    const auto take = [&](size_t part, std::span<const std::byte> bytes) -> Result<void> {
      DUNLIN_RETURN_IF_ERROR(writer.fill(chunks[part - parts.begin], bytes));
      done_ += bytes.size();
      return progress_(done_, total_);
    };
    for (size_t i = parts.begin; i < parts.end; ++i) {
      const auto other = packer_.companion(i);
      if (other && *other < i) continue;  // it came with that one
      DUNLIN_RETURN_IF_ERROR(packer_.pack(i, take));
    }
    return {};
  }

  Result<void> write_text_side(const std::string& folder) {
    if (!checkpoint_.header().values().empty()) {
      const std::string path = folder + "/" + kHeaderFile;
      DUNLIN_ASSIGN_OR_RETURN(GgufWriter writer, GgufWriter::create(path));
      DUNLIN_RETURN_IF_ERROR(add_gguf_header(checkpoint_, writer));
      DUNLIN_RETURN_IF_ERROR(writer.begin_data());
      DUNLIN_RETURN_IF_ERROR(writer.finish());
      return list_file(folder, kHeaderFile);
    }
    const std::string text_folder = text_directory(checkpoint_);
    for (const char* name : kTextFiles) {
      const std::string from = text_folder + "/" + name;
      std::error_code ignored;
      if (!fs::exists(from, ignored)) continue;
      DUNLIN_ASSIGN_OR_RETURN(const std::string text, read_text_file(from, kMostCopiedBytes));
      DUNLIN_RETURN_IF_ERROR(
          write_file_atomically(folder + "/" + name, std::as_bytes(std::span(text))));
      DUNLIN_RETURN_IF_ERROR(list_file(folder, name));
    }
    return {};
  }

  Result<void> list_file(const std::string& folder, const std::string& name) {
    DUNLIN_ASSIGN_OR_RETURN(const std::string text,
                            read_text_file(folder + "/" + name, kMostCopiedBytes));
    manifest_.files.push_back({.name = name, .bytes = text.size(), .hash = hash_of(text)});
    return {};
  }

  Result<void> write_manifest(const std::string& folder, const std::vector<TensorPlan>& plans) {
    manifest_.source = checkpoint_.path();
    manifest_.packing = layout_.packing;
    manifest_.precision = layout_.precision;
    manifest_.mesh = layout_.mesh;
    manifest_.axes = layout_.axes;
    manifest_.config = checkpoint_.config();
    for (const TensorPlan& plan : plans) {
      TensorInfo& tensor = manifest_.tensors.emplace_back();
      tensor.name = plan.name;
      tensor.shape = plan.shape;
      tensor.format = plan.format;
      // Packed weights have their own form. A block may be wider than the weight.
      if (layout_.packing == kStoredPacking)
        tensor.scale_columns = std::min(plan.view.scale_columns, plan.view.columns);
    }
    const std::string text = manifest_text(manifest_);
    DUNLIN_ASSIGN_OR_RETURN(ArtifactWriter writer,
                            ArtifactWriter::create(folder + "/" + kManifestFile,
                                                   {.kind = kManifestKind, .key = manifest_.key}));
    DUNLIN_RETURN_IF_ERROR(writer.begin_chunk(kManifestChunk));
    DUNLIN_RETURN_IF_ERROR(writer.append(std::as_bytes(std::span(text))));
    return writer.commit();
  }

  const Checkpoint& checkpoint_;
  WeightPacker& packer_;
  const Layout& layout_;
  const ConvertProgress& progress_;
  PreparedManifest manifest_ = {};
  uint64_t total_ = 0;
  uint64_t done_ = 0;
  size_t left_over_ = 0;  // parts
  bool any_file_ = false;
};

}  // namespace

Result<size_t> write_prepared(const Checkpoint& checkpoint, WeightPacker& packer,
                              const PreparedSettings& settings, const std::string& path,
                              const ConvertProgress& progress) {
  const std::string mesh = to_string(MeshShape{});
  const char* const precision = precision_name(settings.precision);
  const Layout layout{.packing = settings.packing,
                      .precision = precision,
                      .mesh = mesh,
                      .axes = {},
                      .files = files_of(packer, settings.file_bytes),
                      .made = fmt::format("prepared {} {} {} in files of {}", settings.packing,
                                          precision, mesh, settings.file_bytes)};
  return PreparedWriter(checkpoint, packer, layout, progress).write(path);
}

Result<size_t> write_shards(const Checkpoint& checkpoint, ShardPacker& packer,
                            const std::string& path, const ConvertProgress& progress) {
  const std::string mesh = to_string(packer.sharding().shape);
  const Layout layout{.packing = kStoredPacking,
                      .precision = "any",
                      .mesh = mesh,
                      .axes = to_string(packer.sharding().mesh),
                      .files = files_of(packer.parts_of_shards()),
                      .made = fmt::format("prepared {} {}", kStoredPacking, mesh)};
  return PreparedWriter(checkpoint, packer, layout, progress).write(path);
}

}  // namespace dunlin
