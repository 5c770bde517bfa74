// LocalCalls: programs, and topologies to compile them for.
#include <memory>

#include "backend/pjrt/client/large_stack.h"
#include "backend/pjrt/client/local_calls.h"

namespace dunlin::pjrt {
namespace {

// What a ProgramId points to.
struct LocalProgram {
  explicit LocalProgram(const Plugin& of) : plugin(of) {}
  ~LocalProgram() {
    if (loaded != nullptr) {
      auto args = DUNLIN_PJRT_ARGS(PJRT_LoadedExecutable_Destroy_Args);
      args.executable = loaded;
      (void)plugin.check(plugin.api().PJRT_LoadedExecutable_Destroy(&args), "unload a program");
    }
    if (executable == nullptr) return;
    auto args = DUNLIN_PJRT_ARGS(PJRT_Executable_Destroy_Args);
    args.executable = executable;
    (void)plugin.check(plugin.api().PJRT_Executable_Destroy(&args), "free a program");
  }
  LocalProgram(const LocalProgram&) = delete;
  LocalProgram& operator=(const LocalProgram&) = delete;

  const Plugin& plugin;
  PJRT_LoadedExecutable* loaded = nullptr;  // null: for devices that are not here
  PJRT_Executable* executable = nullptr;
  size_t results = 0;
};

PJRT_TopologyDescription* topology_of(TopologyId id) {
  return reinterpret_cast<PJRT_TopologyDescription*>(static_cast<uintptr_t>(id));
}

LocalProgram& program_of(ProgramId id) {
  return *reinterpret_cast<LocalProgram*>(static_cast<uintptr_t>(id));
}

ProgramId give_out(std::unique_ptr<LocalProgram> program) {
  return static_cast<ProgramId>(reinterpret_cast<uintptr_t>(program.release()));
}

// Compiles StableHLO text with `compile`, one of the C API's two functions for it; `args` says for
// what, and holds the executable afterwards. Errors start with `doing`. XLA recurses deeply: it runs
// on a thread with a large stack.
template <typename Args>
Result<void> call_compiler(const Plugin& plugin, PJRT_Error* (*compile)(Args*), Args& args,
                           const std::string& text, const std::string& options,
                           const std::string& doing) {
  auto program = DUNLIN_PJRT_ARGS(PJRT_Program);
  program.code = const_cast<char*>(text.data());  // only read
  program.code_size = text.size();
  program.format = "mlir";
  program.format_size = 4;
  args.program = &program;
  args.compile_options = options.data();
  args.compile_options_size = options.size();
  PJRT_Error* error = nullptr;
  run_with_large_stack([&] { error = compile(&args); });
  return plugin.check(error, doing);
}

PJRT_NamedValue text_option(const std::pair<std::string, std::string>& option) {
  auto value = DUNLIN_PJRT_ARGS(PJRT_NamedValue);
  value.name = option.first.data();
  value.name_size = option.first.size();
  value.type = PJRT_NamedValue_kString;
  value.string_value = option.second.data();
  value.value_size = option.second.size();
  return value;
}

}  // namespace

Result<ProgramId> LocalCalls::compile(const std::string& text, const std::string& options) {
  auto args = DUNLIN_PJRT_ARGS(PJRT_Client_Compile_Args);
  args.client = client_;
  DUNLIN_RETURN_IF_ERROR(
      call_compiler(plugin_, plugin_.api().PJRT_Client_Compile, args, text, options, "compile"));
  return adopt(args.executable);
}

Result<ProgramId> LocalCalls::load_program(const std::string& serialised) {
  auto args = DUNLIN_PJRT_ARGS(PJRT_Executable_DeserializeAndLoad_Args);
  args.client = client_;
  args.serialized_executable = serialised.data();
  args.serialized_executable_size = serialised.size();
  PJRT_Error* error = nullptr;
  run_with_large_stack([&] { error = plugin_.api().PJRT_Executable_DeserializeAndLoad(&args); });
  DUNLIN_RETURN_IF_ERROR(plugin_.check(error, "load a compiled program"));
  return adopt(args.loaded_executable);
}

Result<ProgramId> LocalCalls::adopt(PJRT_LoadedExecutable* loaded) const {
  auto program = std::make_unique<LocalProgram>(plugin_);
  program->loaded = loaded;
  auto inner = DUNLIN_PJRT_ARGS(PJRT_LoadedExecutable_GetExecutable_Args);
  inner.loaded_executable = loaded;
  DUNLIN_RETURN_IF_ERROR(plugin_.check(plugin_.api().PJRT_LoadedExecutable_GetExecutable(&inner),
                                       "look into a program"));
  program->executable = inner.executable;
  auto count = DUNLIN_PJRT_ARGS(PJRT_Executable_NumOutputs_Args);
  count.executable = inner.executable;
  DUNLIN_RETURN_IF_ERROR(
      plugin_.check(plugin_.api().PJRT_Executable_NumOutputs(&count), "count the results"));
  program->results = count.num_outputs;
  return give_out(std::move(program));
}

Result<std::vector<std::vector<BufferId>>> LocalCalls::execute(
    ProgramId program, const std::vector<std::vector<BufferId>>& arguments) {
  const LocalProgram& chosen = program_of(program);
  std::vector<std::vector<PJRT_Buffer*>> buffers;
  std::vector<std::vector<PJRT_Buffer*>> results(arguments.size(),
                                                 std::vector<PJRT_Buffer*>(chosen.results));
  std::vector<PJRT_Buffer* const*> argument_lists;
  std::vector<PJRT_Buffer**> result_lists;
  for (size_t device = 0; device < arguments.size(); ++device) {
    std::vector<PJRT_Buffer*>& list = buffers.emplace_back();
    list.reserve(arguments[device].size());
    for (const BufferId id : arguments[device])
      list.push_back(reinterpret_cast<PJRT_Buffer*>(static_cast<uintptr_t>(id)));
    argument_lists.push_back(list.data());  // stays where it is when `buffers` grows
    result_lists.push_back(results[device].data());
  }
  auto options = DUNLIN_PJRT_ARGS(PJRT_ExecuteOptions);
  auto args = DUNLIN_PJRT_ARGS(PJRT_LoadedExecutable_Execute_Args);
  args.executable = chosen.loaded;
  args.options = &options;
  args.argument_lists = argument_lists.data();
  args.num_devices = arguments.size();
  args.num_args = arguments.front().size();
  args.output_lists = result_lists.data();
  DUNLIN_RETURN_IF_ERROR(
      plugin_.check(plugin_.api().PJRT_LoadedExecutable_Execute(&args), "execute"));
  std::vector<std::vector<BufferId>> ids(results.size());
  for (size_t device = 0; device < results.size(); ++device) {
    for (PJRT_Buffer* const result : results[device])
      ids[device].push_back(static_cast<BufferId>(reinterpret_cast<uintptr_t>(result)));
  }
  return ids;
}

Result<MemoryStats> LocalCalls::memory(ProgramId program) {
  auto args = DUNLIN_PJRT_ARGS(PJRT_Executable_GetCompiledMemoryStats_Args);
  args.executable = program_of(program).executable;
  DUNLIN_RETURN_IF_ERROR(plugin_.check(plugin_.api().PJRT_Executable_GetCompiledMemoryStats(&args),
                                       "ask a program for its memory"));
  return MemoryStats{.arguments = args.argument_size_in_bytes,
                     .outputs = args.output_size_in_bytes,
                     .aliased = args.alias_size_in_bytes,
                     .temporary = args.temp_size_in_bytes,
                     .code = args.generated_code_size_in_bytes};
}

Result<std::string> LocalCalls::optimised(ProgramId program) {
  auto code = DUNLIN_PJRT_ARGS(PJRT_Program);
  auto args = DUNLIN_PJRT_ARGS(PJRT_Executable_OptimizedProgram_Args);
  args.executable = program_of(program).executable;
  args.program = &code;
  // The first call gives the size, the second the bytes.
  const std::string doing = "ask for the optimised program";
  DUNLIN_RETURN_IF_ERROR(
      plugin_.check(plugin_.api().PJRT_Executable_OptimizedProgram(&args), doing));
  std::string bytes(code.code_size, '\0');
  code.code = bytes.data();
  DUNLIN_RETURN_IF_ERROR(
      plugin_.check(plugin_.api().PJRT_Executable_OptimizedProgram(&args), doing));
  return bytes;
}

Result<std::string> LocalCalls::serialised(ProgramId program) {
  auto args = DUNLIN_PJRT_ARGS(PJRT_Executable_Serialize_Args);
  args.executable = program_of(program).executable;
  DUNLIN_RETURN_IF_ERROR(
      plugin_.check(plugin_.api().PJRT_Executable_Serialize(&args), "serialise a program"));
  std::string bytes(args.serialized_bytes, args.serialized_bytes_size);
  args.serialized_executable_deleter(args.serialized_executable);
  return bytes;
}

void LocalCalls::free_program(ProgramId program) noexcept {
  delete &program_of(program);
}

Result<TopologyFacts> LocalCalls::describe(
    const std::string& name, const std::vector<std::pair<std::string, std::string>>& options) {
  std::vector<PJRT_NamedValue> values;
  for (const auto& option : options) values.push_back(text_option(option));
  auto args = DUNLIN_PJRT_ARGS(PJRT_TopologyDescription_Create_Args);
  args.topology_name = name.data();
  args.topology_name_size = name.size();
  args.create_options = values.data();
  args.num_options = values.size();
  DUNLIN_RETURN_IF_ERROR(plugin_.check(plugin_.api().PJRT_TopologyDescription_Create(&args),
                                       "describe the devices " + name));
  TopologyFacts facts;
  facts.id = static_cast<TopologyId>(reinterpret_cast<uintptr_t>(args.topology));
  auto devices = DUNLIN_PJRT_ARGS(PJRT_TopologyDescription_GetDeviceDescriptions_Args);
  devices.topology = args.topology;
  const auto listed = plugin_.check(
      plugin_.api().PJRT_TopologyDescription_GetDeviceDescriptions(&devices), "list the devices");
  if (!listed.ok()) {
    free_topology(facts.id);
    return listed.error();
  }
  facts.devices = static_cast<int64_t>(devices.num_descriptions);
  return facts;
}

Result<ProgramId> LocalCalls::compile_for(TopologyId topology, const std::string& text,
                                          const std::string& options) {
  auto args = DUNLIN_PJRT_ARGS(PJRT_Compile_Args);
  args.topology = topology_of(topology);
  DUNLIN_RETURN_IF_ERROR(call_compiler(plugin_, plugin_.api().PJRT_Compile, args, text, options,
                                       "compile ahead of time"));
  auto program = std::make_unique<LocalProgram>(plugin_);
  program->executable = args.executable;
  return give_out(std::move(program));
}

void LocalCalls::free_topology(TopologyId topology) noexcept {
  auto args = DUNLIN_PJRT_ARGS(PJRT_TopologyDescription_Destroy_Args);
  args.topology = topology_of(topology);
  (void)plugin_.check(plugin_.api().PJRT_TopologyDescription_Destroy(&args), "forget devices");
}

}  // namespace dunlin::pjrt
