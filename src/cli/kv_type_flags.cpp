#include "cli/kv_type_flags.h"

#include <fmt/format.h>

#include "cli/flags.h"

namespace dunlin {

void KvTypeFlags::add_to(Command command, const std::vector<std::string>& words) {
  std::vector<std::string> all = {"auto"};
  all.insert(all.end(), words.begin(), words.end());
  const Check known = one_of(all);
  // No default is shown: what --print-config prints of all three could not be given together.
  const Flag flag_k =
      add_flag(command, "--cache-type-k", keys,
               "what keys are kept as (default: auto, as --precision has it) (-ctk)")
          .check(known)
          .default_str("");
  const Flag flag_v = add_flag(command, "--cache-type-v", values, "what values are kept as (-ctv)")
                          .check(known)
                          .default_str("");
  add_flag(command, "--kv-cache-dtype", both, "sets both of them")
      .check(known)
      .default_str("")
      .excludes(flag_k)
      .excludes(flag_v);
}

Result<std::optional<KvType>> KvTypeFlags::type() const {
  if (of_keys() != of_values()) {
    return usage_error(
        fmt::format("--cache-type-k {} and --cache-type-v {}: keys and values are kept in one "
                    "type, which --kv-cache-dtype sets",
                    of_keys(), of_values()));
  }
  if (of_keys() == "auto") return std::optional<KvType>();
  const std::optional<KvType> type = parse_kv_type(of_keys());
  if (!type) {
    return usage_error(fmt::format(
        "the back ends keep keys and values in bf16, int8 or f32, not in {}", of_keys()));
  }
  return type;
}

}  // namespace dunlin
