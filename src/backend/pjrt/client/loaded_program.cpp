// LoadedProgram: execution.
#include "backend/pjrt/client/client.h"

namespace dunlin::pjrt {

LoadedProgram::~LoadedProgram() {
  const Plugin& plugin = client_->plugin();
  auto args = DUNLIN_PJRT_ARGS(PJRT_LoadedExecutable_Destroy_Args);
  args.executable = loaded_;
  (void)plugin.check(plugin.api().PJRT_LoadedExecutable_Destroy(&args), "unload a program");
}

Result<std::vector<std::vector<Buffer>>> LoadedProgram::execute(
    const std::vector<std::vector<PJRT_Buffer*>>& arguments) const {
  const Plugin& plugin = client_->plugin();
  std::vector<PJRT_Buffer* const*> argument_lists;
  std::vector<std::vector<PJRT_Buffer*>> results(arguments.size(),
                                                 std::vector<PJRT_Buffer*>(results_));
  std::vector<PJRT_Buffer**> result_lists;
  for (size_t device = 0; device < arguments.size(); ++device) {
    argument_lists.push_back(arguments[device].data());
    result_lists.push_back(results[device].data());
  }
  auto options = DUNLIN_PJRT_ARGS(PJRT_ExecuteOptions);
  auto args = DUNLIN_PJRT_ARGS(PJRT_LoadedExecutable_Execute_Args);
  args.executable = loaded_;
  args.options = &options;
  args.argument_lists = argument_lists.data();
  args.num_devices = arguments.size();
  args.num_args = arguments.front().size();
  args.output_lists = result_lists.data();
  DUNLIN_RETURN_IF_ERROR(
      plugin.check(plugin.api().PJRT_LoadedExecutable_Execute(&args), "execute"));
  std::vector<std::vector<Buffer>> buffers(results.size());
  for (size_t device = 0; device < results.size(); ++device) {
    for (PJRT_Buffer* result : results[device]) buffers[device].emplace_back(plugin, result);
  }
  return buffers;
}

}  // namespace dunlin::pjrt
