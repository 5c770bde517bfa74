// Names of the enumerators in attributes, as print() shows them and content_hash() hashes them.
#pragma once

#include "program/attributes.h"

namespace dunlin {

const char* enum_name(MaskKind kind);
const char* enum_name(GateKind kind);
const char* enum_name(ActAttributes::Kind kind);
const char* enum_name(PoolAttributes::Kind kind);
const char* enum_name(ReduceAttributes::Kind kind);
const char* enum_name(CompareKind kind);
const char* enum_name(UnaryKind kind);
const char* enum_name(BinaryKind kind);
const char* enum_name(DType type);

}  // namespace dunlin
