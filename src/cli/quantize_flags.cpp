#include "cli/quantize_flags.h"

#include <fmt/format.h>

#include <utility>

#include "cli/argv.h"
#include "cli/flags.h"
#include "cli/model_name.h"

namespace dunlin {
namespace {

std::string type_names() {
  std::vector<std::string> names;
  for (const QuantizeType& type : quantize_types()) {
    names.emplace_back(type.name);
    if (type.alias != nullptr) names.back() += fmt::format(" (or {})", type.alias);
  }
  return fmt::format("{}", fmt::join(names, ", "));
}

Result<const QuantizeType*> parse_type(const std::string& name) {
  if (const QuantizeType* const type = find_quantize_type(name)) return type;
  std::vector<std::string> names;
  for (const QuantizeType& type : quantize_types()) names.emplace_back(type.name);
  return usage_error(unknown_name(name, "type", names) + "; the types are " + type_names());
}

Result<Format> parse_tensor_format(const std::string& flag, const std::string& name) {
  if (const auto format = parse_format(name)) return *format;
  std::vector<std::string> names;
  for (const FormatTraits& row : all_formats()) names.emplace_back(row.name);
  return usage_error(
      fmt::format("{}: \"{}\" is not one of {}", flag, name, fmt::join(names, ", ")));
}

// I8 and F8 go with their types only.
Result<void> check_container(const char* flag, Format format, const QuantizeType& type) {
  if (traits(format).ggml_type || type.is_scaled()) return {};
  return usage_error(fmt::format("{}: GGUF files do not have {}", flag, traits(format).name));
}

// PATTERN=FORMAT
Result<TensorRule> parse_rule(const std::string& text) {
  const size_t equals = text.rfind('=');
  if (equals == std::string::npos || equals == 0)
    return usage_error(fmt::format("--tensor-type: \"{}\" is not PATTERN=FORMAT", text));
  DUNLIN_ASSIGN_OR_RETURN(const Format format,
                          parse_tensor_format("--tensor-type", text.substr(equals + 1)));
  return TensorRule{.pattern = text.substr(0, equals), .format = format};
}

void add_tensor_flags(Command command, QuantizeFlags& flags) {
  add_flag(command, "--tensor-type", flags.tensor_types,
           "the format of matrices whose name (in OUT) the regular expression is found in; may be "
           "repeated, "
           "the first that fits counts: attn_v=Q8_0")
      .type_name("PATTERN=FORMAT");
  add_flag(command, "--output-tensor-type", flags.output_type,
           "the format of output.weight, or of the embedding where it stands for it")
      .type_name("FORMAT");
  add_flag(command, "--token-embedding-type", flags.embedding_type,
           "the format of token_embd.weight")
      .type_name("FORMAT");
  add_flag(command, "--imatrix", flags.imatrix,
           "importance matrix of llama-imatrix (its GGUF form): columns with larger inputs count "
           "more")
      .type_name("FILE");
  add_switch(command, "--leave-output-tensor", flags.leave_output, "output.weight stays as it is");
  add_switch(command, "--pure", flags.pure, "no mix: every matrix in the format of TYPE");
  add_switch(command, "--allow-requantize", flags.allow_requantize,
             "quantise what is quantised already, which loses more than quantising the original");
}

}  // namespace

void QuantizeFlags::add_to(Command command) {
  add_flag(command, "in", in, "Hugging Face directory or .gguf file")
      .required()
      .type_name("MODEL")
      .transform(resolve_model);
  add_flag(
      command, "out", out,
      "the GGUF file to write; an older GGUF file is replaced. For I8 and F8 the new directory")
      .required()
      .check(not_empty())
      .type_name("FILE");
  add_flag(command, "type", type, type_names());
  add_flag(command, "threads,-t,--threads", threads, "threads (0: one per core)")
      .check(in_range(0, 1024));
  add_tensor_flags(command, *this);
  add_switch(command, "--dry-run", dry_run,
             "list the format and the size of every tensor and write nothing; OUT may be left out");
  add_flag(command, "--report", report,
           "a text: perplexity and the distance from IN over it (as dunlin eval OUT TEXT --ref IN)")
      .type_name("FILE")
      .excludes(command.flag("--dry-run"));
  add_flag(command, "--chunks", chunks, "of the text: only the first so many windows")
      .check(in_range(1, 1 << 30))
      .default_str("")
      .needs(command.flag("--report"));
  add_switch(command, "--json", json, "print one JSON object");
  add_switch(command, "-q,--quiet", quiet, "no progress");
}

Result<void> QuantizeFlags::complete() {
  if (!type.empty()) return {};
  if (dry_run && find_quantize_type(out) != nullptr) {
    type = std::exchange(out, "");
    return {};
  }
  return usage_error("TYPE is missing: dunlin quantize IN OUT TYPE");
}

Result<void> QuantizeFlags::set(FormatOptions& options) const {
  options.pure = pure;
  options.keep_output = leave_output;
  options.imatrix = imatrix.has_value();
  DUNLIN_ASSIGN_OR_RETURN(options.type, parse_type(type));
  if (options.type->is_scaled() && out.ends_with(".gguf")) {
    return usage_error(fmt::format(
        "{}: GGUF files do not have {}; OUT is the name of a new Hugging Face directory", out,
        options.type->name));
  }
  for (const std::string& text : tensor_types) {
    DUNLIN_ASSIGN_OR_RETURN(TensorRule rule, parse_rule(text));
    DUNLIN_RETURN_IF_ERROR(check_container("--tensor-type", rule.format, *options.type));
    options.rules.push_back(std::move(rule));
  }
  if (output_type) {
    DUNLIN_ASSIGN_OR_RETURN(options.output,
                            parse_tensor_format("--output-tensor-type", *output_type));
    DUNLIN_RETURN_IF_ERROR(check_container("--output-tensor-type", *options.output, *options.type));
  }
  if (embedding_type) {
    DUNLIN_ASSIGN_OR_RETURN(options.token_embedding,
                            parse_tensor_format("--token-embedding-type", *embedding_type));
    DUNLIN_RETURN_IF_ERROR(
        check_container("--token-embedding-type", *options.token_embedding, *options.type));
  }
  return {};
}

}  // namespace dunlin
