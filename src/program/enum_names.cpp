// The enumerators as text.
#include "program/enum_names.h"

namespace dunlin {

#define DUNLIN_NAME(name) \
  case Kind::name:        \
    return #name

const char* enum_name(MaskKind kind) {
  using Kind = MaskKind;
  switch (kind) {
    DUNLIN_NAME(causal);
    DUNLIN_NAME(full);
  }
  return "unknown";
}

const char* enum_name(GateKind kind) {
  using Kind = GateKind;
  switch (kind) {
    DUNLIN_NAME(silu);
    DUNLIN_NAME(gelu_tanh);
    DUNLIN_NAME(oai);
  }
  return "unknown";
}

const char* enum_name(ActAttributes::Kind kind) {
  using Kind = ActAttributes::Kind;
  switch (kind) {
    DUNLIN_NAME(silu);
    DUNLIN_NAME(gelu_tanh);
    DUNLIN_NAME(sigmoid);
  }
  return "unknown";
}

const char* enum_name(PoolAttributes::Kind kind) {
  using Kind = PoolAttributes::Kind;
  switch (kind) {
    DUNLIN_NAME(last);
    DUNLIN_NAME(mean);
  }
  return "unknown";
}

const char* enum_name(ReduceAttributes::Kind kind) {
  using Kind = ReduceAttributes::Kind;
  switch (kind) {
    DUNLIN_NAME(sum);
    DUNLIN_NAME(max);
  }
  return "unknown";
}

const char* enum_name(CompareKind kind) {
  using Kind = CompareKind;
  switch (kind) {
    DUNLIN_NAME(eq);
    DUNLIN_NAME(ne);
    DUNLIN_NAME(lt);
    DUNLIN_NAME(le);
    DUNLIN_NAME(gt);
    DUNLIN_NAME(ge);
  }
  return "unknown";
}

const char* enum_name(UnaryKind kind) {
  using Kind = UnaryKind;
  switch (kind) {
    DUNLIN_NAME(neg);
    DUNLIN_NAME(exp);
    DUNLIN_NAME(log);
    DUNLIN_NAME(sqrt);
    DUNLIN_NAME(sin);
    DUNLIN_NAME(cos);
    DUNLIN_NAME(abs);
    DUNLIN_NAME(logical_not);
  }
  return "unknown";
}

const char* enum_name(BinaryKind kind) {
  using Kind = BinaryKind;
  switch (kind) {
    DUNLIN_NAME(sub);
    DUNLIN_NAME(div);
    DUNLIN_NAME(max);
    DUNLIN_NAME(min);
    DUNLIN_NAME(logical_and);
    DUNLIN_NAME(logical_or);
    DUNLIN_NAME(shift_left);
    DUNLIN_NAME(shift_right);
  }
  return "unknown";
}

#undef DUNLIN_NAME

const char* enum_name(DType type) {
  return dtype_name(type);
}

}  // namespace dunlin
