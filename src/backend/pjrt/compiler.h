// Compiler: programs by bucket, each compiled once, when it is first asked for.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "backend/pjrt/client/client.h"
#include "backend/pjrt/lower/lower.h"

namespace dunlin::pjrt {

struct CompiledBucket {
  LoweredProgram lowered;  // without its text
  std::unique_ptr<LoadedProgram> program;
};

class Compiler {
 public:
  // `program` is expanded to what lower() takes, and outlives the compiler.
  Compiler(std::shared_ptr<const Client> client, const Program& program, LoweringOptions options,
           CompileSpec spec);

  Result<const CompiledBucket*> bucket(const Bucket& bucket);
  // Copies a page within arrays of these types (lower_page_copy()).
  Result<const LoadedProgram*> page_copy(const std::vector<TensorType>& arrays);
  // An array of zeros.
  Result<Buffer> zeros(const TensorType& type);

  const Client& client() const { return *client_; }
  // How many programs were compiled so far: none more while serving, once every bucket was met.
  int64_t compilations() const { return compilations_; }

 private:
  Result<std::unique_ptr<LoadedProgram>> compile(const std::string& text);

  std::shared_ptr<const Client> client_;
  const Program& program_;
  LoweringOptions options_;
  CompileSpec spec_;
  std::map<Bucket, CompiledBucket> buckets_;
  std::map<std::string, std::unique_ptr<LoadedProgram>> others_;  // by their text
  int64_t compilations_ = 0;
};

}  // namespace dunlin::pjrt
