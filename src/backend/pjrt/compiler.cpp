#include "backend/pjrt/compiler.h"

#include "backend/pjrt/discover.h"
#include "backend/pjrt/stablehlo/builder.h"

namespace dunlin::pjrt {
namespace {

// What every program is compiled with; the caller's options come after them and win.
std::vector<std::pair<std::string, OptionValue>> own_options(const Plugin& plugin) {
  // Values that a Program rounds to bf16 stay rounded: XLA would otherwise leave pairs of
  // conversions out, and results would depend on what it fused.
  std::vector<std::pair<std::string, OptionValue>> options = {
      {"xla_allow_excess_precision", false}};
  if (plugin.is_cuda()) {
    const std::string tools = find_cuda_tools(plugin.path());
    if (!tools.empty()) options.emplace_back("xla_gpu_cuda_data_dir", tools);
  }
  return options;
}

}  // namespace

Compiler::Compiler(std::shared_ptr<const Client> client, const Program& program,
                   LoweringOptions options, CompileSpec spec)
    : client_(std::move(client)),
      program_(program),
      options_(std::move(options)),
      spec_(std::move(spec)) {
  spec_.device_ids = {client_->device_ids().front()};
  auto all = own_options(client_->plugin());
  all.insert(all.end(), spec_.options.begin(), spec_.options.end());
  spec_.options = std::move(all);
}

Result<std::unique_ptr<LoadedProgram>> Compiler::compile(const std::string& text) {
  ++compilations_;
  return client_->compile(text, spec_);
}

Result<const CompiledBucket*> Compiler::bucket(const Bucket& bucket) {
  if (const auto found = buckets_.find(bucket); found != buckets_.end()) {
    return static_cast<const CompiledBucket*>(&found->second);
  }
  LoweredProgram lowered = lower(program_, bucket, options_);
  auto program = compile(lowered.text);
  if (!program.ok()) return program.error().with_context(bucket.text());
  lowered.text = {};
  CompiledBucket compiled{std::move(lowered), std::move(program).value()};
  return static_cast<const CompiledBucket*>(
      &buckets_.emplace(bucket, std::move(compiled)).first->second);
}

Result<const LoadedProgram*> Compiler::page_copy(const std::vector<TensorType>& arrays) {
  const std::string text = lower_page_copy(arrays);
  if (!others_.contains(text)) {
    DUNLIN_ASSIGN_OR_RETURN(others_[text], compile(text));
  }
  return static_cast<const LoadedProgram*>(others_[text].get());
}

Result<Buffer> Compiler::zeros(const TensorType& type) {
  Builder b;
  const std::string text = b.finish({b.constant(type, 0.0)});
  if (!others_.contains(text)) {
    DUNLIN_ASSIGN_OR_RETURN(others_[text], compile(text));
  }
  DUNLIN_ASSIGN_OR_RETURN(auto results, others_[text]->execute({{}}));
  return std::move(results.front().front());
}

}  // namespace dunlin::pjrt
