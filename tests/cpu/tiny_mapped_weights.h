// Packed weights of a small model in a mapped file, as a prepared directory has them.
#pragma once

#include <map>
#include <memory>
#include <span>
#include <string>

#include "backend/api.h"
#include "base/mapped_file.h"
#include "support/saved_environment.h"
#include "tiny_model.h"

namespace dunlin {

class TinyMappedWeights final : public PreparedWeights {
 public:
  // Packs them for `precision`, in a temporary file that is gone with the object.
  static std::shared_ptr<const TinyMappedWeights> create(const Backend& backend,
                                                         const TinyModel& model,
                                                         Precision precision);

  const std::string& name() const override { return name_; }
  const std::string& packing() const override { return packing_; }
  const std::string& source() const override { return name_; }
  const std::byte* find(const PreparedPart& part) const override;
  void read_ahead() const override { ++read_aheads_; }
  uint64_t piece_bytes() const override { return uint64_t{1} << 20; }
  Result<void> read(const PreparedPart& part, uint64_t piece,
                    std::span<std::byte> into) const override;

  int read_aheads() const { return read_aheads_; }  // calls of read_ahead()

 private:
  std::string name_ = "mapped";
  std::string packing_;
  MappedFile file_;
  std::map<std::string, uint64_t> offsets_;  // by the name of a part
  mutable int read_aheads_ = 0;
};

// tiny_options() of an executable whose weights are mapped, and read while it runs.
CompileOptions offloaded_options(std::shared_ptr<const TinyMappedWeights> weights,
                                 Precision precision, int threads);

// DUNLIN_MEMORY_BUDGET during its life.
class MemoryBudget {
 public:
  explicit MemoryBudget(const std::string& bytes) : environment_("DUNLIN_MEMORY_BUDGET", bytes) {}

 private:
  SavedEnvironment environment_;
};

}  // namespace dunlin
