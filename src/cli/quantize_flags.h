// The arguments of `dunlin quantize`.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "base/result.h"
#include "cli/command.h"
#include "convert/choose_formats.h"

namespace dunlin {

struct QuantizeFlags {
  std::string in, out, type;
  int threads = 0;
  std::vector<std::string> tensor_types = {};
  std::optional<std::string> output_type, embedding_type, imatrix, report;
  int64_t chunks = -1;
  bool pure = false, leave_output = false, allow_requantize = false, dry_run = false;
  bool json = false, quiet = false;

  void add_to(Command command);
  // llama-quantize's `--dry-run IN TYPE` names no output: moves the type to its place. An error when
  // there is no type.
  Result<void> complete();
  // Errors (kind usage) name the flag and what it can be. (g++ 12 takes a returned FormatOptions for
  // uninitialised.)
  Result<void> set(FormatOptions& options) const;
};

}  // namespace dunlin
