// What PjrtOptions name: a client of a plug-in, how programs are compiled for it, and where they are
// kept.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "backend/packed_forms.h"
#include "backend/pjrt/client/client.h"
#include "backend/pjrt/client/compile_options.h"
#include "backend/pjrt/pjrt_backend.h"

namespace dunlin::pjrt {

struct OpenDevice {
  std::shared_ptr<const Client> client = nullptr;
  MeshShape mesh = {};    // of the client's first devices
  CompileSpec spec = {};  // the caller's options alone
  std::string program_folder = {};
  int64_t steps = 1;  // of a call
};

// Into this process, or into one of its own. Errors (kind device): those of Plugin::load(), and a process
// that cannot be started, has ended or gave no answer.
Result<std::shared_ptr<PluginCalls>> load_plugin(const std::string& path,
                                                 const std::optional<IsolateOptions>& isolate);

// Errors as make_pjrt_backend()'s.
Result<OpenDevice> open_device(const PjrtOptions& options);

// PjrtOptions::steps_per_call. Error (kind usage): out of range.
Result<int64_t> steps_of_call(const PjrtOptions& options, Platform platform);

// PjrtOptions::xla_options.
Result<CompileSpec> parse_options(const std::vector<std::string>& options);

}  // namespace dunlin::pjrt
