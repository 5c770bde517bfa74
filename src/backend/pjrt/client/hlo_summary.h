// What is in an optimised program: its operations with opcode, shape and name, read from the message
// HloModuleProto (openxla/xla, xla/service/hlo.proto) that a plug-in returns.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace dunlin::pjrt {

struct HloOperation {
  std::string opcode;    // "all-reduce"
  std::string shape;     // "f32[2,64]"; of a tuple "(f32[2],s32[])"
  int64_t elements = 0;  // of an array; of a tuple, of all its arrays
  // Dimensions of an array as they lie in memory, from minor to major.
  std::vector<int64_t> layout = {};
  std::string name;         // "fusion.12"
  std::string source;       // the location that the lowering gave: "layers.3.attend.q"
  std::string computation;  // the computation it is in
  int64_t computation_id = 0;
  std::vector<int64_t> calls = {};  // computations that it runs: of a `while` condition and body
  // What libtpu takes it to need; 0 where nothing is said, as of other plug-ins' operations.
  int64_t estimated_cycles = 0;
  int64_t turns = 0;  // of a `while`, where the compiler knows how often it goes round; else 0
};

// Every operation of every computation, fused ones included. An error when the bytes are not such a
// message.
Result<std::vector<HloOperation>> read_hlo(std::string_view module_with_config);

}  // namespace dunlin::pjrt
