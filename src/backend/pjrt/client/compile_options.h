// CompileSpec: how a program is compiled, and its form on the wire: the protobuf message
// CompileOptionsProto (openxla/xla, xla/pjrt/proto/compile_options.proto), written by hand because
// eight fields do not need a library.
#pragma once

#include <cstdint>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "base/result.h"

namespace dunlin::pjrt {

using OptionValue = std::variant<std::string, bool, int64_t, double>;

struct CompileSpec {
  // One per partition, in the order of the mesh; a program without sharding has one.
  std::vector<int64_t> device_ids = {0};
  // Shardy annotations (sdy.*) in the program; GSPMD's otherwise.
  bool shardy = false;
  // The plug-in's own options (fields of XLA's DebugOptions, or libtpu's flags).
  std::vector<std::pair<std::string, OptionValue>> options = {};
};

std::string serialize(const CompileSpec& spec);

// "name=value" as an option; the error (kind usage) when there is no name or no "=".
Result<std::pair<std::string, OptionValue>> parse_option(const std::string& text);

}  // namespace dunlin::pjrt
