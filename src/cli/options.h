// Flags that several commands share, and what they mean for the engine.
#pragma once

#include <algorithm>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "backend/pjrt/pjrt_backend.h"
#include "base/result.h"
#include "cli/command.h"
#include "cli/flags.h"
#include "cli/kv_type_flags.h"
#include "cli/pack_cache_flags.h"
#include "cli/terminal.h"
#include "engine/model.h"
#include "program/mesh.h"

namespace dunlin {

// Flags of llama.cpp that its scripts give, and that change nothing here.
struct IgnoredFlags {
  std::vector<std::string> gpu_layers = {}, flash_attention = {};
  bool jinja = false;

  void add_to(Command command);
  void warn() const;  // of what is given and does nothing
};

// The most prompt tokens of one step: the smaller of -b and -ub, as in llama.cpp.
struct BatchFlags {
  std::optional<int64_t> batch;
  int64_t ubatch = 512;

  void add_to(Command command);
  int64_t rows() const { return std::min(batch.value_or(ubatch), ubatch); }
};

// --xla-option NAME=VALUE; may be repeated.
void add_xla_option_flag(Command command, std::vector<std::string>& options);

// --steps-per-call; 0 where it is not given.
void add_steps_per_call_flag(Command command, int64_t& steps);

// --isolate and --isolate-timeout.
struct IsolateFlags {
  bool on = false;
  std::optional<int64_t> seconds = {};

  void add_to(Command command);
  // Nothing without --isolate. The plug-in's process is another run of this program.
  Result<std::optional<IsolateOptions>> options() const;
};

// --mesh; of the commands that compute on it.
Flag add_mesh_flag(Command command, std::string& mesh);
// "data=2,model=2"; empty: one device.
Result<MeshShape> parse_mesh_flag(const std::string& text);

// What computes, and how weights reach it.
struct BackendFlags {
  std::string backend = "cpu";
  std::string device = {};
  std::string mesh = {};
  std::vector<std::string> xla_options = {};
  IsolateFlags isolate = {};
  std::string precision = "auto";
  KvTypeFlags kv_type = {};
  std::string load_mode = "auto";
  PackCacheFlags pack_cache = {};
  std::string offload = "none";
  std::string quantize = {};

  void add_to(Command command);
  Result<ModelOptions> options() const;  // of these alone
  // The same for a command that measures: weights that are not to be mapped are copied, and nothing is
  // written any more once the model is there, so that a speed does not depend on whether they had been
  // packed before.
  Result<ModelOptions> bench_options() const;
};

struct ModelFlags {
  std::string model = {};
  std::string context = "auto";
  int threads = 0;
  int64_t parallel = 1;
  BatchFlags step = {};
  BackendFlags backend = {};
  int64_t steps_per_call = 0;
  int64_t layers = -1;
  std::vector<std::string> disable = {};
  bool quiet = false;
  bool verbose = false;
  IgnoredFlags ignored = {};

  void add_to(Command command);
  Result<ModelOptions> options() const;
};

Result<Precision> parse_precision(const std::string& name);

// For Flag::check: a type of --quantize.
Check quantize_type();

// Integers with k, K, m or M behind them; "auto" is 0.
Result<int64_t> parse_size(const std::string& field, const std::string& text);

// Loads the model with a progress bar and prints the banner unless --quiet.
Result<std::unique_ptr<Model>> load_with_banner(const ModelFlags& flags,
                                                const ModelOptions& options);

}  // namespace dunlin
