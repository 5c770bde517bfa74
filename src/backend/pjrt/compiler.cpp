#include "backend/pjrt/compiler.h"

#include <fmt/format.h>

#include <chrono>
#include <cstdlib>
#include <filesystem>
#include <optional>
#include <system_error>
#include <utility>

#include "backend/pjrt/discover.h"
#include "backend/pjrt/stablehlo/builder.h"
#include "base/cpu_features.h"

namespace dunlin::pjrt {
namespace {

// What an executable depends on beside its program and options. A plug-in reads only what the same
// build of it wrote, and need not notice that another one did.
std::string compiler_identity(const Client& client) {
  const PluginFacts& plugin = client.plugin();
  std::error_code unknown;  // of a name that dlopen searches for
  const auto bytes = std::filesystem::file_size(plugin.path, unknown);
  const auto written = std::filesystem::last_write_time(plugin.path, unknown);
  std::string identity =
      fmt::format("{}, {} bytes of {}, PJRT {}, {}, {}, {}\n", plugin.path, bytes,
                  written.time_since_epoch().count(), plugin.api_version, client.platform(),
                  client.platform_version(), client.device_kind());
  // XLA for CPU compiles for the processor that it finds.
  if (client.platform() == "cpu") {
    const CpuFeatures& cpu = cpu_features();
    identity += fmt::format("{}, {} cores, {}\n", cpu.model, cpu.cores, fmt::join(cpu.flags, " "));
  }
  // Where the plug-ins take options from besides.
  for (const char* variable : {"XLA_FLAGS", "LIBTPU_INIT_ARGS"}) {
    const char* const value = std::getenv(variable);
    identity += fmt::format("{}={}\n", variable, value == nullptr ? "" : value);
  }
  return identity;
}

constexpr int64_t kExchangeSeconds = 1200;

// Other versions of a plug-in have other options.
bool takes_option(const Client& client, const std::pair<std::string, OptionValue>& option) {
  CompileSpec spec;
  spec.device_ids = {client.device_ids().front()};
  spec.options = {option};
  Builder b;
  return client.compile(b.finish({b.scalar(0)}), spec).ok();
}

// For the first devices of a client.
CompileSpec spec_for(const Client& client, int64_t devices, CompileSpec spec) {
  const auto exchange = exchange_options(client, devices);
  spec.options.insert(spec.options.begin(), exchange.begin(), exchange.end());
  spec.device_ids = client.device_ids();
  spec.device_ids.resize(static_cast<size_t>(devices));
  spec.shardy = devices > 1;
  return with_own_options(client.plugin(), std::move(spec));
}

}  // namespace

CompileSpec with_own_options(const PluginFacts& plugin, CompileSpec spec) {
  // Values that a Program rounds to bf16 stay rounded: XLA would otherwise leave pairs of
  // conversions out, and results would depend on what it fused.
  std::vector<std::pair<std::string, OptionValue>> options = {
      {"xla_allow_excess_precision", false}};
  if (plugin.is_cuda) {
    const std::string tools = find_cuda_tools(plugin.path);
    if (!tools.empty()) options.emplace_back("xla_gpu_cuda_data_dir", tools);
  }
  options.insert(options.end(), spec.options.begin(), spec.options.end());
  spec.options = std::move(options);
  return spec;
}

std::vector<std::pair<std::string, OptionValue>> exchange_options(const Client& client,
                                                                  int64_t devices) {
  if (devices == 1 || client.platform() != "cpu") return {};
  const std::pair<std::string, OptionValue> patience = {
      "xla_cpu_collective_call_terminate_timeout_seconds", kExchangeSeconds};
  if (!takes_option(client, patience)) return {};
  return {patience};
}

Compiler::Compiler(std::shared_ptr<const Client> client, const Program& program,
                   LoweringOptions options, CompileSpec spec, const std::string& program_folder)
    : client_(std::move(client)),
      program_(program),
      options_(std::move(options)),
      spec_(spec_for(*client_, options_.sharding == nullptr ? 1 : options_.sharding->devices(),
                     std::move(spec))),
      cache_(program_folder, program_folder.empty() ? "" : compiler_identity(*client_)) {}

Result<MadeProgram> Compiler::make(const std::string& text) {
  const auto start = std::chrono::steady_clock::now();
  MadeProgram made;
  const std::string key = cache_.key(text, serialize(spec_));
  if (const std::optional<std::string> kept = cache_.find(key)) {
    auto loaded = client_->load(*kept);
    if (loaded.ok()) {
      made.program = std::move(loaded).value();
      made.from_cache = true;
    } else if (client_->lost()) {
      return loaded.error().with_context(cache_.path(key));  // nothing is left to compile with
    } else {
      cache_.refuse(loaded.error().with_context(cache_.path(key)));
    }
  }
  if (!made.from_cache) {
    DUNLIN_ASSIGN_OR_RETURN(made.program, client_->compile(text, spec_));
  }
  const std::chrono::duration<double> time = std::chrono::steady_clock::now() - start;
  made.seconds = time.count();
  if (!made.from_cache && cache_.enabled()) cache_.keep(key, made.program->compiled().serialised());
  const std::lock_guard lock(counting_);
  ++(made.from_cache ? made_.loaded : made_.compiled);
  made_.seconds += made.seconds;
  return made;
}

DevicePrograms Compiler::made() const {
  const std::lock_guard lock(counting_);
  return made_;
}

Result<const CompiledBucket*> Compiler::bucket(const Bucket& bucket) {
  if (const auto found = buckets_.find(bucket); found != buckets_.end()) {
    return static_cast<const CompiledBucket*>(&found->second);
  }
  LoweredProgram lowered = lower(program_, bucket, options_);
  auto made = make(lowered.text);
  if (!made.ok()) return made.error().with_context(bucket.text());
  lowered.text = {};
  CompiledBucket compiled{std::move(lowered), std::move(made->program)};
  return static_cast<const CompiledBucket*>(
      &buckets_.emplace(bucket, std::move(compiled)).first->second);
}

Result<const LoadedProgram*> Compiler::other(const std::string& text) {
  if (!others_.contains(text)) {
    DUNLIN_ASSIGN_OR_RETURN(MadeProgram made, make(text));
    others_[text] = std::move(made.program);
  }
  return static_cast<const LoadedProgram*>(others_[text].get());
}

Result<const LoadedProgram*> Compiler::page_copy(const std::vector<TensorType>& arrays,
                                                 int32_t group) {
  return other(lower_page_copy(arrays, options_, group));
}

Result<const LoadedProgram*> Compiler::place_clear(const std::vector<TensorType>& arrays,
                                                   int32_t group) {
  return other(lower_place_clear(arrays, options_, group));
}

Result<Buffer> Compiler::zeros(const TensorType& type) {
  DUNLIN_ASSIGN_OR_RETURN(const LoadedProgram* program, other(zeros_text(type, options_)));
  DUNLIN_ASSIGN_OR_RETURN(auto results, program->execute({{}}));
  return std::move(results.front().front());
}

Result<std::vector<Buffer>> Compiler::zeros(const TensorType& type, int32_t group,
                                            const std::vector<Buffer>& places) {
  DUNLIN_ASSIGN_OR_RETURN(const LoadedProgram* program, other(zeros_text(type, options_, group)));
  std::vector<std::vector<BufferId>> arguments;
  for (const Buffer& place : places) arguments.push_back({place.id()});
  DUNLIN_ASSIGN_OR_RETURN(auto results, program->execute(arguments));
  std::vector<Buffer> arrays;
  for (std::vector<Buffer>& of_device : results) arrays.push_back(std::move(of_device.front()));
  return arrays;
}

}  // namespace dunlin::pjrt
