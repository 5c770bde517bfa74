// The arithmetic table of docs/decisions/0002-numerics.md.
#include "backend/api.h"

#include <algorithm>

namespace dunlin {

const char* precision_name(Precision precision) {
  switch (precision) {
    case Precision::automatic:
      return "auto";
    case Precision::exact:
      return "exact";
    case Precision::int8:
      return "int8";
    case Precision::f32:
      break;
  }
  return "f32";
}

Arithmetic linear_arithmetic(Format weight, Precision precision, RowClass row_class) {
  if (precision == Precision::f32 || weight == Format::f32) return Arithmetic::f32;
  if (traits(weight).group == 0) return Arithmetic::bf16;  // no integers to multiply
  const bool generated = row_class == RowClass::generated;
  const bool int8 =
      precision == Precision::int8 || (precision == Precision::automatic && generated);
  return int8 ? Arithmetic::int8 : Arithmetic::bf16;
}

int64_t kv_pages(const KvGroup& group, const StepLimits& limits) {
  const auto pages = [](int64_t positions) { return (positions + kPageTokens - 1) / kPageTokens; };
  if (group.window == 0) return pages(limits.context);
  // One more where the window begins and ends within a page.
  return std::min(pages(limits.context), pages(group.window + limits.rows) + 1);
}

Result<void> Executable::record(Profile* profile) {
  if (profile == nullptr) return {};
  return usage_error("only the back end cpu tells the steps of a model apart");
}

Result<Footprint> Backend::footprint(const Program& /*program*/, const WeightSource& /*weights*/,
                                     const CompileOptions& /*options*/,
                                     const std::vector<int64_t>& /*pages_per_group*/) const {
  return Error{ErrorKind::device, std::string("the back end ") + name() +
                                      " says what it holds only once it has compiled a model"};
}

Result<Residency> Backend::residency(const Program& /*program*/, const WeightSource& /*weights*/,
                                     const CompileOptions& /*options*/,
                                     const std::vector<int64_t>& /*pages_per_group*/,
                                     uint64_t /*available*/) const {
  return usage_error(std::string("the back end ") + name() + " holds all weights in memory");
}

Result<std::unique_ptr<WeightPacker>> Backend::packer(const Program& /*program*/,
                                                      const WeightSource& /*weights*/,
                                                      const CompileOptions& /*options*/) const {
  return usage_error(std::string("the back end ") + name() + " prepares no weights");
}

}  // namespace dunlin
