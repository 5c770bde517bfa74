// `dunlin quantize`: a model's matrices in another format, with llama-quantize's arguments.
#include <fmt/format.h>

#include "cli/answer.h"
#include "cli/commands.h"
#include "cli/conversion.h"
#include "cli/interrupt.h"
#include "cli/quality_report.h"
#include "cli/quantize_flags.h"
#include "cli/terminal.h"
#include "convert/choose_formats.h"
#include "convert/gguf_tensors.h"
#include "convert/hf_quantization.h"
#include "convert/imatrix.h"
#include "convert/write_gguf.h"
#include "convert/write_hf.h"
#include "models/registry.h"
#include "report/table.h"

namespace dunlin {
namespace {

using Json = nlohmann::ordered_json;

constexpr uint64_t kShardBytes = 5'000'000'000;  // as transformers' save_pretrained

std::string shape_text(const TensorPlan& tensor) {
  return fmt::format("[{}]", fmt::join(tensor.shape, ", "));
}

std::string tensor_table(const std::vector<TensorPlan>& tensors) {
  const std::vector<TableColumn> columns = {{"tensor"}, {"shape"},          {"from"},
                                            {"to"},     {"bytes in", true}, {"bytes out", true}};
  std::vector<std::vector<std::string>> rows;
  for (const TensorPlan& tensor : tensors) {
    rows.push_back({tensor.name, shape_text(tensor), traits(tensor.view.format).name,
                    traits(tensor.format).name, fmt::to_string(tensor.stored_bytes()),
                    fmt::to_string(tensor.bytes())});
  }
  return aligned_table(columns, rows);
}

Json tensors_json(const std::vector<TensorPlan>& tensors) {
  Json list = Json::array();
  for (const TensorPlan& tensor : tensors) {
    list.push_back({{"name", tensor.name},
                    {"shape", tensor.shape},
                    {"from", traits(tensor.view.format).name},
                    {"to", traits(tensor.format).name},
                    {"input_bytes", tensor.stored_bytes()},
                    {"output_bytes", tensor.bytes()}});
  }
  return list;
}

Json fallbacks_json(const std::vector<Fallback>& fallbacks) {
  Json list = Json::array();
  for (const Fallback& fallback : fallbacks) {
    list.push_back({{"tensor", fallback.tensor},
                    {"columns", fallback.columns},
                    {"wanted", traits(fallback.wanted).name},
                    {"used", traits(fallback.used).name}});
  }
  return list;
}

class Quantize {
 public:
  explicit Quantize(QuantizeFlags flags) : flags_(std::move(flags)) {}

  Result<int> run() {
    DUNLIN_RETURN_IF_ERROR(flags_.complete());
    FormatOptions options;
    DUNLIN_RETURN_IF_ERROR(flags_.set(options));
    if (flags_.imatrix) {
      DUNLIN_ASSIGN_OR_RETURN(imatrix_, read_imatrix(*flags_.imatrix));
    }
    DUNLIN_ASSIGN_OR_RETURN(const auto checkpoint, open_checkpoint(flags_.in));
    // Nothing is written that could not be loaded.
    if (const auto program = record_model(checkpoint->config(), {}); !program.ok())
      return program.error();
    DUNLIN_RETURN_IF_ERROR(plan(*checkpoint, options));
    if (!flags_.allow_requantize) DUNLIN_RETURN_IF_ERROR(refuse_requantizing(tensors_));
    note_fallbacks();
    if (flags_.imatrix) DUNLIN_RETURN_IF_ERROR(use_imatrix());
    if (!flags_.dry_run) {
      DUNLIN_ASSIGN_OR_RETURN(const int code, write(*checkpoint, *options.type));
      if (code != 0) return code;
    }
    print(*options.type);
    return 0;
  }

 private:
  Result<void> plan(const Checkpoint& checkpoint, const FormatOptions& options) {
    if (options.type->is_scaled()) {
      DUNLIN_ASSIGN_OR_RETURN(HfTensors tensors,
                              scaled_hf_tensors(checkpoint, options, fallbacks_));
      tensors_ = tensors.tensors;
      directory_ = std::move(tensors);
      return {};
    }
    DUNLIN_ASSIGN_OR_RETURN(tensors_, gguf_tensors(checkpoint));
    DUNLIN_ASSIGN_OR_RETURN(fallbacks_, choose_formats(checkpoint.config(), options, tensors_));
    return {};
  }

  // The exit code.
  Result<int> write(const Checkpoint& checkpoint, const QuantizeType& type) {
    std::optional<QualityReport> report;
    if (flags_.report) {
      // What is wrong with the text shows before the work.
      DUNLIN_ASSIGN_OR_RETURN(report,
                              QualityReport::prepare(flags_.in, *flags_.report, flags_.chunks));
    }
    const GgufKeys keys = keys_for(checkpoint, type);
    const auto work = [&](ThreadPool& pool, const ConvertProgress& progress) {
      if (directory_)
        return write_hf(checkpoint, *directory_, flags_.out, kShardBytes, pool, progress);
      return write_gguf(checkpoint, tensors_, keys, flags_.out, pool, progress);
    };
    DUNLIN_ASSIGN_OR_RETURN(done_, run_conversion(flags_.threads, flags_.quiet, work));
    if (done_.exit_code != 0 || !report) return done_.exit_code;
    const auto quality = report->run(flags_.out, flags_.threads, flags_.quiet);
    if (quality.ok()) {
      quality_ = *quality;
      return 0;
    }
    if (pending_interrupt() != 0) return exit_code_of_signal(pending_interrupt());
    return quality.error();
  }

  // COPY of a GGUF file keeps its type.
  GgufKeys keys_for(const Checkpoint& checkpoint, const QuantizeType& type) const {
    GgufKeys keys;
    if (type.format) {
      keys.file_type = type.file_type;
    } else if (std::string_view(checkpoint.container()) != "gguf") {
      keys.file_type = float_file_type(tensors_);
    }
    if (flags_.imatrix) {
      keys.imatrix = &imatrix_;
      keys.imatrix_file = *flags_.imatrix;
    }
    return keys;
  }

  Result<void> use_imatrix() {
    const auto without = apply_imatrix(imatrix_, tensors_);
    if (!without.ok()) return without.error().with_context(*flags_.imatrix);
    for (const std::string& name : *without)
      note("{}: {} has no entry; its columns count alike\n", name, *flags_.imatrix);
    return {};
  }

  void note_fallbacks() const {
    for (const Fallback& each : fallbacks_) {
      note("{}: rows of {} are not whole blocks of {}: {} instead of {}\n", each.tensor,
           each.columns, traits(each.wanted).block_elements, traits(each.used).name,
           traits(each.wanted).name);
    }
  }

  void print(const QuantizeType& type) const {
    const TensorSizes sizes(tensors_);
    if (flags_.json) {
      fmt::print("{}\n", json_line(to_json(type, sizes)));
      return;
    }
    if (flags_.dry_run) fmt::print("{}\n", tensor_table(tensors_));
    const std::string out =
        flags_.dry_run ? fmt::format("{} (not written)", type.name) : flags_.out;
    fmt::print("{}", sizes_table(sizes, flags_.in, out));
    if (quality_) fmt::print("{}", quality_text(*quality_));
    if (!flags_.dry_run && !flags_.quiet)
      note("{}: {}\n", type.name, tensors_line(tensors_.size(), done_));
  }

  Json to_json(const QuantizeType& type, const TensorSizes& sizes) const {
    return {{"schema_version", 1},
            {"input", flags_.in},
            {"output", flags_.dry_run ? Json(nullptr) : Json(flags_.out)},
            {"type", type.name},
            {"elements", sizes.elements},
            {"input_bytes", sizes.stored},
            {"output_bytes", sizes.written},
            {"input_bits_per_weight", sizes.stored_bits()},
            {"output_bits_per_weight", sizes.written_bits()},
            {"left_over_tensors", done_.left_over_tensors},
            {"seconds", done_.seconds},
            {"report", quality_ ? quality_json(*quality_) : Json(nullptr)},
            {"fallbacks", fallbacks_json(fallbacks_)},
            {"tensors", tensors_json(tensors_)}};
  }

  QuantizeFlags flags_;
  std::vector<TensorPlan> tensors_ = {};
  std::vector<Fallback> fallbacks_ = {};
  std::optional<HfTensors> directory_ = {};  // of a type that GGUF files do not have
  ImportanceMatrix imatrix_ = {};
  ConversionResult done_ = {};
  std::optional<EvalResult> quality_ = {};
};

}  // namespace

void add_quantize_command(Command app, int& exit_code) {
  Command command = app.add_command("quantize", "Write a model in fewer bits per weight");
  auto flags = std::make_shared<QuantizeFlags>();
  flags->add_to(command);
  command.footer(
      "Examples:\n"
      "  dunlin quantize model/ model-Q4_K_M.gguf Q4_K_M\n"
      "  dunlin quantize model-F16.gguf model-Q8_0.gguf Q8_0 8\n"
      "  dunlin quantize model/ model.gguf Q4_K_M --tensor-type attn_v=Q8_0 --dry-run\n"
      "  dunlin quantize model/ model.gguf Q4_K_M --report text.txt --chunks 20\n"
      "  dunlin quantize part-00001-of-00003.gguf whole.gguf COPY\n"
      "  dunlin quantize model/ model-fp8/ F8_E4M3\n"
      "I8, F8_E4M3 and F8_E5M2 (a scale per row) and F8_E4M3_B128 (a scale per 128 x 128 weights)\n"
      "have no form in GGUF files: OUT is then the name of a new Hugging Face directory.\n"
      "A run that was ended leaves OUT.tmp; the same command goes on from there.");
  command.callback([flags, &exit_code] {
    const auto result = Quantize(*flags).run();
    exit_code = result.ok() ? *result : report_error(result.error());
  });
}

}  // namespace dunlin
