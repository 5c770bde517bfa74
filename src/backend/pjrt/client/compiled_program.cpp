#include "backend/pjrt/client/compiled_program.h"

namespace dunlin::pjrt {

CompiledProgram& CompiledProgram::operator=(CompiledProgram&& other) noexcept {
  std::swap(plugin_, other.plugin_);
  std::swap(executable_, other.executable_);
  return *this;
}

CompiledProgram::~CompiledProgram() {
  if (executable_ == nullptr) return;
  auto args = DUNLIN_PJRT_ARGS(PJRT_Executable_Destroy_Args);
  args.executable = executable_;
  (void)plugin_->check(plugin_->api().PJRT_Executable_Destroy(&args), "free a program");
}

Result<size_t> CompiledProgram::results() const {
  auto args = DUNLIN_PJRT_ARGS(PJRT_Executable_NumOutputs_Args);
  args.executable = executable_;
  DUNLIN_RETURN_IF_ERROR(
      plugin_->check(plugin_->api().PJRT_Executable_NumOutputs(&args), "count the results"));
  return args.num_outputs;
}

Result<MemoryStats> CompiledProgram::memory() const {
  auto args = DUNLIN_PJRT_ARGS(PJRT_Executable_GetCompiledMemoryStats_Args);
  args.executable = executable_;
  DUNLIN_RETURN_IF_ERROR(
      plugin_->check(plugin_->api().PJRT_Executable_GetCompiledMemoryStats(&args),
                     "ask a program for its memory"));
  return MemoryStats{.arguments = args.argument_size_in_bytes,
                     .outputs = args.output_size_in_bytes,
                     .aliased = args.alias_size_in_bytes,
                     .temporary = args.temp_size_in_bytes,
                     .code = args.generated_code_size_in_bytes};
}

Result<std::string> CompiledProgram::optimised() const {
  auto program = DUNLIN_PJRT_ARGS(PJRT_Program);
  auto args = DUNLIN_PJRT_ARGS(PJRT_Executable_OptimizedProgram_Args);
  args.executable = executable_;
  args.program = &program;
  // The first call gives the size, the second the bytes.
  const std::string doing = "ask for the optimised program";
  DUNLIN_RETURN_IF_ERROR(
      plugin_->check(plugin_->api().PJRT_Executable_OptimizedProgram(&args), doing));
  std::string code(program.code_size, '\0');
  program.code = code.data();
  DUNLIN_RETURN_IF_ERROR(
      plugin_->check(plugin_->api().PJRT_Executable_OptimizedProgram(&args), doing));
  return code;
}

Result<std::string> CompiledProgram::serialised() const {
  auto args = DUNLIN_PJRT_ARGS(PJRT_Executable_Serialize_Args);
  args.executable = executable_;
  DUNLIN_RETURN_IF_ERROR(
      plugin_->check(plugin_->api().PJRT_Executable_Serialize(&args), "serialise a program"));
  std::string bytes(args.serialized_bytes, args.serialized_bytes_size);
  args.serialized_executable_deleter(args.serialized_executable);
  return bytes;
}

}  // namespace dunlin::pjrt
