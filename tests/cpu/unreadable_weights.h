// Weights that can be described but not read.
#pragma once

#include <memory>
#include <span>
#include <string>

#include "backend/api.h"
#include "base/byte_source.h"

namespace dunlin {

class UnreadableSource final : public ByteSource {
 public:
  Result<void> read_at(uint64_t /*offset*/, std::span<std::byte> /*into*/) const override {
    return runtime_error("a weight was read");
  }
  uint64_t size() const override { return 1; }
  const std::string& name() const override { return name_; }

 private:
  std::string name_ = "headers";
};

inline WeightSource unreadable(const WeightSource& weights) {
  const auto source = std::make_shared<const UnreadableSource>();
  return [weights, source](const std::string& name) -> Result<WeightView> {
    DUNLIN_ASSIGN_OR_RETURN(WeightView view, weights(name));
    view.source = source;
    return view;
  };
}

}  // namespace dunlin
