// `dunlin convert`: a Hugging Face directory as a GGUF file, and the other way round; either as a
// prepared directory.
#include <fmt/format.h>

#include <filesystem>
#include <optional>

#include "backend/cpu/cpu_backend.h"
#include "cli/answer.h"
#include "cli/commands.h"
#include "cli/conversion.h"
#include "cli/flags.h"
#include "cli/model_name.h"
#include "cli/options.h"
#include "cli/terminal.h"
#include "convert/choose_formats.h"
#include "convert/gguf_tensors.h"
#include "convert/hf_tensors.h"
#include "convert/shard_packer.h"
#include "convert/write_gguf.h"
#include "convert/write_hf.h"
#include "convert/write_prepared.h"
#include "engine/model.h"
#include "models/registry.h"
#include "program/mesh.h"

namespace dunlin {
namespace {

constexpr const char* kAuto = "auto";
constexpr const char* kPrepared = "prepared";
constexpr const char* kShardSize = "5GB";

struct ConvertFlags {
  std::string in, out;
  std::string type = kAuto;
  std::string to = kAuto;
  std::optional<std::string> shard_size, precision, mesh;
  int threads = 0;
  bool json = false, quiet = false;
};

// transformers' form: "5GB", "500MB", or a number of bytes.
Result<uint64_t> parse_shard_size(const std::string& text) {
  constexpr std::pair<std::string_view, uint64_t> kUnits[] = {
      {"GB", 1'000'000'000}, {"MB", 1'000'000}, {"KB", 1'000}, {"", 1}};
  for (const auto& [unit, bytes] : kUnits) {
    if (!text.ends_with(unit)) continue;
    uint32_t number = 0;
    const std::string digits = text.substr(0, text.size() - unit.size());
    if (parse_number(digits, number).empty() && number > 0) return number * bytes;
    break;
  }
  return usage_error(
      fmt::format("--max-shard-size: \"{}\" is not a size such as 5GB or 500MB", text));
}

class Convert {
 public:
  explicit Convert(const ConvertFlags& flags) : flags_(flags) {}

  Result<int> run() {
    DUNLIN_ASSIGN_OR_RETURN(const uint64_t shard_bytes,
                            parse_shard_size(flags_.shard_size.value_or(kShardSize)));
    DUNLIN_ASSIGN_OR_RETURN(const auto checkpoint, open_checkpoint(flags_.in));
    DUNLIN_RETURN_IF_ERROR(check_complete(*checkpoint));
    // Nothing is written that could not be loaded.
    DUNLIN_ASSIGN_OR_RETURN(const Program program, record_model(checkpoint->config(), {}));
    if (flags_.to == kPrepared) return write_prepared_directory(*checkpoint, program, shard_bytes);
    if (flags_.mesh || flags_.precision)
      return usage_error("--precision and --mesh are for --to prepared");
    DUNLIN_RETURN_IF_ERROR(check_no_mesh(*checkpoint));
    const bool from_gguf = std::string_view(checkpoint->container()) == "gguf";
    const bool named_gguf = std::filesystem::path(flags_.out).extension() == ".gguf";
    const bool to_gguf = flags_.to == kAuto ? named_gguf : flags_.to == "gguf";
    if (from_gguf && to_gguf) {
      return usage_error(
          fmt::format("{} is a GGUF file already; `dunlin quantize {} {} COPY` writes another",
                      flags_.in, flags_.in, flags_.out));
    }
    if (!from_gguf && !to_gguf) {
      return usage_error(fmt::format(
          "{} is a Hugging Face directory already; the name of a GGUF file must end in .gguf, "
          "which {} does not, and --to prepared makes a prepared directory",
          flags_.in, flags_.out));
    }
    return to_gguf ? write_gguf_file(*checkpoint) : write_directory(*checkpoint, shard_bytes);
  }

 private:
  Result<int> write_gguf_file(const Checkpoint& checkpoint) const {
    DUNLIN_ASSIGN_OR_RETURN(auto tensors, gguf_tensors(checkpoint));
    // The float formats have the same names there.
    const QuantizeType* const type =
        find_quantize_type(flags_.type == kAuto ? "COPY" : flags_.type);
    const auto chosen = choose_formats(checkpoint.config(), {.type = type}, tensors);
    if (!chosen.ok()) return chosen.error();
    return write(tensors.size(), TensorSizes(tensors),
                 [&](ThreadPool& pool, const ConvertProgress& progress) {
                   return write_gguf(checkpoint, tensors, {.file_type = float_file_type(tensors)},
                                     flags_.out, pool, progress);
                 });
  }

  Result<int> write_directory(const Checkpoint& checkpoint, uint64_t shard_bytes) const {
    const auto type = flags_.type == kAuto ? std::nullopt : parse_format(flags_.type);
    DUNLIN_ASSIGN_OR_RETURN(const HfTensors tensors, hf_tensors(checkpoint, type));
    return write(tensors.tensors.size(), TensorSizes(tensors.tensors),
                 [&](ThreadPool& pool, const ConvertProgress& progress) {
                   return write_hf(checkpoint, tensors, flags_.out, shard_bytes, pool, progress);
                 });
  }

  Result<int> write_prepared_directory(const Checkpoint& checkpoint, const Program& program,
                                       uint64_t file_bytes) const {
    if (flags_.type != kAuto) {
      return usage_error(
          "--outtype: a prepared directory has the formats of its model; convert or quantize "
          "first");
    }
    DUNLIN_ASSIGN_OR_RETURN(const MeshShape mesh, parse_mesh_shape(flags_.mesh.value_or("data=1")));
    return mesh.devices() == 1 ? write_packed(checkpoint, program, file_bytes)
                               : write_mesh(checkpoint, program, mesh);
  }

  // For the CPU back end, whose packed weights every instruction set reads.
  Result<int> write_packed(const Checkpoint& checkpoint, const Program& program,
                           uint64_t file_bytes) const {
    PreparedSettings settings;
    DUNLIN_ASSIGN_OR_RETURN(settings.precision, parse_precision(flags_.precision.value_or(kAuto)));
    if (flags_.shard_size) settings.file_bytes = file_bytes;
    const WeightSource weights = [&](const std::string& name) { return checkpoint.weight(name); };
    const auto backend = make_cpu_backend();
    settings.packing = backend->packing();
    DUNLIN_ASSIGN_OR_RETURN(const auto packer, backend->packer(program, weights,
                                                               {.precision = settings.precision,
                                                                .threads = flags_.threads}));
    return write(packer->parts().size(), sizes_of(checkpoint, *packer),
                 [&](ThreadPool& /*pool*/, const ConvertProgress& progress) {
                   return write_prepared(checkpoint, *packer, settings, flags_.out, progress);
                 });
  }

  Result<int> write_mesh(const Checkpoint& checkpoint, const Program& program,
                         const MeshShape& mesh) const {
    if (flags_.precision || flags_.shard_size) {
      return usage_error(fmt::format(
          "--mesh {}: weights stay in the formats of the model, in one file for each shard; leave "
          "out {}",
          to_string(mesh), flags_.precision ? "--precision" : "--max-shard-size"));
    }
    DUNLIN_ASSIGN_OR_RETURN(const auto packer, ShardPacker::create(checkpoint, program, mesh));
    return write(packer->parts().size() - packer->parts_of_shards().size(),
                 sizes_of(checkpoint, *packer),
                 [&](ThreadPool& /*pool*/, const ConvertProgress& progress) {
                   return write_shards(checkpoint, *packer, flags_.out, progress);
                 });
  }

  static TensorSizes sizes_of(const Checkpoint& checkpoint, const WeightPacker& packer) {
    TensorSizes sizes;
    sizes.elements = parameter_count(checkpoint);
    sizes.stored = tensor_bytes(checkpoint);
    for (const PreparedPart& part : packer.parts()) sizes.written += part.bytes;
    return sizes;
  }

  Result<int> write(size_t tensors, const TensorSizes& sizes, const Conversion& work) const {
    DUNLIN_ASSIGN_OR_RETURN(const ConversionResult done,
                            run_conversion(flags_.threads, flags_.quiet, work));
    if (done.exit_code != 0) return done.exit_code;
    if (flags_.json) {
      fmt::print("{}\n", json_line({{"schema_version", 1},
                                    {"input", flags_.in},
                                    {"output", flags_.out},
                                    {"tensors", tensors},
                                    {"input_bytes", sizes.stored},
                                    {"output_bytes", sizes.written},
                                    {"left_over_tensors", done.left_over_tensors},
                                    {"seconds", done.seconds}}));
      return 0;
    }
    fmt::print("{}", sizes_table(sizes, flags_.in, flags_.out));
    if (!flags_.quiet) note("{}\n", tensors_line(tensors, done));
    return 0;
  }

  const ConvertFlags& flags_;
};

}  // namespace

void add_convert_command(Command app, int& exit_code) {
  Command command = app.add_command(
      "convert", "Write a model in another container: Hugging Face, GGUF, prepared");
  auto flags = std::make_shared<ConvertFlags>();
  add_flag(command, "in", flags->in, "Hugging Face directory or .gguf file")
      .required()
      .type_name("MODEL")
      .transform(resolve_model);
  add_flag(command, "out", flags->out,
           "what to write: a .gguf file (an older GGUF file is replaced), or the name of a new "
           "directory")
      .required()
      .check(not_empty())
      .type_name("FILE");
  const Flag to =
      add_flag(
          command, "--to", flags->to,
          "the container; auto: GGUF for a name in .gguf, else a Hugging Face directory; prepared: "
          "a directory with the weights as the CPU computes with them, which loads at once, or in "
          "shards for a mesh")
          .check(one_of({kAuto, "gguf", "hf", kPrepared}));
  add_flag(command, "--outtype", flags->type,
           "the format of matrices; auto: as they are stored. Vectors are F32 in GGUF files")
      .check(one_of({kAuto, "f32", "f16", "bf16"}));
  // None has a default of its own: --print-config would print it, and a file with it would say that it
  // is wanted.
  add_flag(command, "--max-shard-size", flags->shard_size,
           "of a directory: bytes of the weights in one file, or KB, MB, GB (default: 5GB, of a "
           "prepared one 1GB)")
      .type_name("SIZE");
  add_flag(
      command, "--precision", flags->precision,
      "of a prepared directory: the arithmetic that its weights are packed for (default: auto)")
      .check(one_of({kAuto, "exact", "int8", "fast", "f32"}))
      .needs(to);
  add_flag(
      command, "--mesh", flags->mesh,
      "of a prepared directory: the devices it is for (data, stage, fsdp, expert, width, model); "
      "more than one: a file for each shard, weights in the formats of the model (default: data=1)")
      .type_name("AXIS=N,..")
      .needs(to);
  add_flag(command, "-t,--threads", flags->threads, "threads (0: one per core)")
      .check(in_range(0, 1024));
  add_switch(command, "--json", flags->json, "print one JSON object");
  add_switch(command, "-q,--quiet", flags->quiet, "no progress");
  command.footer(
      "Examples:\n"
      "  dunlin convert model/ model.gguf\n"
      "  dunlin convert model/ model-F16.gguf --outtype f16\n"
      "  dunlin convert model.gguf model/\n"
      "  dunlin convert model-Q8_0.gguf model/ --outtype bf16 --max-shard-size 2GB\n"
      "  dunlin convert model-Q4_K_M.gguf model-cpu/ --to prepared\n"
      "  dunlin convert model/ model-tp8/ --to prepared --mesh model=8\n"
      "`dunlin quantize` reads both and writes fewer bits per weight.\n"
      "A run that was ended leaves OUT.tmp; the same command goes on from there.");
  command.callback([flags, &exit_code] {
    const auto result = Convert(*flags).run();
    exit_code = result.ok() ? *result : report_error(result.error());
  });
}

}  // namespace dunlin
