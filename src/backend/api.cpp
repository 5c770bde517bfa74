// Tables of docs/decisions/0002-numerics.md: arithmetic, and what keys and values are kept as.
#include "backend/api.h"

#include <fmt/format.h>

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
    case Precision::fast:
      return "fast";
    case Precision::f32:
      break;
  }
  return "f32";
}

const char* kv_type_name(KvType type) {
  switch (type) {
    case KvType::bf16:
      return "bf16";
    case KvType::f32:
      return "f32";
    case KvType::int8:
      break;
  }
  return "int8";
}

std::optional<KvType> parse_kv_type(std::string_view name) {
  for (const KvType type : {KvType::bf16, KvType::f32, KvType::int8}) {
    if (name == kv_type_name(type)) return type;
  }
  return std::nullopt;
}

KvType default_kv_type(Precision precision) {
  return precision == Precision::f32 ? KvType::f32 : KvType::bf16;
}

Result<KvType> kv_type_of(Precision precision, std::optional<KvType> asked) {
  if (!asked.has_value()) return default_kv_type(precision);
  const bool f32 = precision == Precision::f32;
  if ((*asked == KvType::f32) == f32) return *asked;
  return usage_error(fmt::format("--precision {} keeps keys and values in {}, not in {}",
                                 precision_name(precision), f32 ? "f32" : "bf16 or int8",
                                 kv_type_name(*asked)));
}

int64_t kv_head_bytes(KvType type, int64_t head_dim) {
  switch (type) {
    case KvType::bf16:
      return 2 * head_dim;
    case KvType::f32:
      return 4 * head_dim;
    case KvType::int8:
      break;
  }
  return head_dim + 4;
}

Arithmetic linear_arithmetic(Format weight, Precision precision, RowClass row_class, bool kept) {
  if (precision == Precision::f32 || weight == Format::f32) return Arithmetic::f32;
  if (precision == Precision::fast) {
    if (!kept) return Arithmetic::int8wide;
    precision = Precision::int8;
  }
  const FormatTraits& format = traits(weight);
  if (format.code_group() == 0) return Arithmetic::bf16;  // no integers to multiply
  // MXFP4: `auto` rounds its activations to bf16, which its values are.
  if (format.group == 0 && precision == Precision::automatic) return Arithmetic::bf16;
  const bool generated = row_class == RowClass::generated;
  const bool int8 =
      precision == Precision::int8 || (precision == Precision::automatic && generated);
  return int8 ? Arithmetic::int8 : Arithmetic::bf16;
}

std::vector<bool> kept_weights(const Program& program) {
  std::vector<bool> kept(program.weights.size(), false);
  for (const Node& node : program.nodes) {
    if (node.op != Op::embed && node.op != Op::route) continue;
    const Value& value = program.values[static_cast<size_t>(node.operands[1])];
    if (value.kind == Value::Kind::weight) kept[static_cast<size_t>(value.weight)] = true;
  }
  return kept;
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
