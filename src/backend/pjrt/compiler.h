// Compiler: programs by bucket, each compiled once, when it is first asked for, or loaded where an
// earlier process compiled it.
#pragma once

#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <utility>
#include <vector>

#include "backend/api.h"
#include "backend/pjrt/client/client.h"
#include "backend/pjrt/lower/lower.h"
#include "backend/pjrt/program_cache.h"

namespace dunlin::pjrt {

struct CompiledBucket {
  LoweredProgram lowered;  // without its text
  std::unique_ptr<LoadedProgram> program;
};

struct MadeProgram {
  std::unique_ptr<LoadedProgram> program = {};
  bool from_cache = false;
  double seconds = 0;
};

// The options that every program is compiled with; the caller's come after them and win.
CompileSpec with_own_options(const PluginFacts& plugin, CompileSpec spec);

// Options for programs whose devices exchange something. XLA for CPU ends the process when a device has
// not come to an exchange after 40 s, which on a loaded machine threads of virtual devices may need.
std::vector<std::pair<std::string, OptionValue>> exchange_options(const Client& client,
                                                                  int64_t devices);

class Compiler {
 public:
  // `program` is expanded to what lower() takes, and outlives the compiler. Programs are for the first
  // devices of the client: as many as the options' mesh has. `program_folder`: of the ProgramCache.
  Compiler(std::shared_ptr<const Client> client, const Program& program, LoweringOptions options,
           CompileSpec spec, const std::string& program_folder = {});

  Result<const CompiledBucket*> bucket(const Bucket& bucket);
  // Copies a page within the arrays of a KV group, which have these types (lower_page_copy()).
  Result<const LoadedProgram*> page_copy(const std::vector<TensorType>& arrays, int32_t group);
  // Puts zeros into places of a slot of such arrays (lower_place_clear()).
  Result<const LoadedProgram*> place_clear(const std::vector<TensorType>& arrays, int32_t group);
  // An array of zeros, on the first device (zeros_text()).
  Result<Buffer> zeros(const TensorType& type);
  // One on every device of the mesh, for a KV array of `group`. `places`: of each device.
  Result<std::vector<Buffer>> zeros(const TensorType& type, int32_t group,
                                    const std::vector<Buffer>& places);

  // From the cache, or compiled and kept there. Safe from any thread.
  Result<MadeProgram> make(const std::string& text);

  const Client& client() const { return *client_; }
  const LoweringOptions& lowering() const { return options_; }
  // What was made so far: nothing more is compiled while serving, once every bucket was met.
  DevicePrograms made() const;

 private:
  Result<const LoadedProgram*> other(const std::string& text);

  std::shared_ptr<const Client> client_;
  const Program& program_;
  LoweringOptions options_;
  CompileSpec spec_;
  ProgramCache cache_;
  std::map<Bucket, CompiledBucket> buckets_;
  std::map<std::string, std::unique_ptr<LoadedProgram>> others_;  // by their text
  mutable std::mutex counting_;
  DevicePrograms made_;
};

}  // namespace dunlin::pjrt
