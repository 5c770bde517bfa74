#include "backend/pjrt/profile.h"

namespace dunlin::pjrt {

Result<void> check_profile(const CompileOptions& options) {
  if (options.precision == Precision::int8 || options.precision == Precision::fast)
    return usage_error(
        "the pjrt back end has no int8 arithmetic; --precision auto computes in bf16");
  DUNLIN_ASSIGN_OR_RETURN(const KvType type, kv_type_of(options.precision, options.kv_type));
  if (type == KvType::int8)
    return usage_error("the pjrt back end keeps no keys and values in int8");
  return {};
}

}  // namespace dunlin::pjrt
