// What compiling for a device that is here and ahead of time have in common.
#pragma once

#include <string>

#include "backend/pjrt/client/compile_options.h"
#include "backend/pjrt/client/large_stack.h"
#include "backend/pjrt/client/plugin.h"

namespace dunlin::pjrt {

// Compiles StableHLO text with `compile`, one of the C API's two functions for it; `args` says for
// what, and holds the executable afterwards. Errors start with `doing`. XLA recurses deeply: it runs
// on a thread with a large stack.
template <typename Args>
Result<void> call_compiler(const Plugin& plugin, PJRT_Error* (*compile)(Args*), Args& args,
                           const std::string& text, const CompileSpec& spec,
                           const std::string& doing) {
  const std::string options = serialize(spec);
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

}  // namespace dunlin::pjrt
