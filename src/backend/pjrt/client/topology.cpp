// Topology: compilation ahead of time.
#include "backend/pjrt/client/compile_call.h"
#include "backend/pjrt/client/compiled_program.h"

namespace dunlin::pjrt {

Result<std::unique_ptr<Topology>> Topology::create(
    const Plugin& plugin, const std::string& name,
    const std::vector<std::pair<std::string, std::string>>& options) {
  std::vector<PJRT_NamedValue> values;
  for (const auto& [key, value] : options) {
    auto option = DUNLIN_PJRT_ARGS(PJRT_NamedValue);
    option.name = key.data();
    option.name_size = key.size();
    option.type = PJRT_NamedValue_kString;
    option.string_value = value.data();
    option.value_size = value.size();
    values.push_back(option);
  }
  auto args = DUNLIN_PJRT_ARGS(PJRT_TopologyDescription_Create_Args);
  args.topology_name = name.data();
  args.topology_name_size = name.size();
  args.create_options = values.data();
  args.num_options = values.size();
  DUNLIN_RETURN_IF_ERROR(plugin.check(plugin.api().PJRT_TopologyDescription_Create(&args),
                                      "describe the devices " + name));
  std::unique_ptr<Topology> topology(new Topology(plugin));
  topology->topology_ = args.topology;
  auto devices = DUNLIN_PJRT_ARGS(PJRT_TopologyDescription_GetDeviceDescriptions_Args);
  devices.topology = args.topology;
  DUNLIN_RETURN_IF_ERROR(plugin.check(
      plugin.api().PJRT_TopologyDescription_GetDeviceDescriptions(&devices), "list the devices"));
  topology->devices_ = static_cast<int64_t>(devices.num_descriptions);
  return topology;
}

Topology::~Topology() {
  if (topology_ == nullptr) return;
  auto args = DUNLIN_PJRT_ARGS(PJRT_TopologyDescription_Destroy_Args);
  args.topology = topology_;
  (void)plugin_.check(plugin_.api().PJRT_TopologyDescription_Destroy(&args), "forget devices");
}

Result<CompiledProgram> Topology::compile(const std::string& program,
                                          const CompileSpec& spec) const {
  auto args = DUNLIN_PJRT_ARGS(PJRT_Compile_Args);
  args.topology = topology_;
  DUNLIN_RETURN_IF_ERROR(call_compiler(plugin_, plugin_.api().PJRT_Compile, args, program, spec,
                                       "compile ahead of time"));
  return CompiledProgram(plugin_, args.executable);
}

}  // namespace dunlin::pjrt
