// What brings devices together. Each collective has a channel of its own, and its groups count
// devices in the order in which the program is given to them.
#include <fmt/format.h>

#include "backend/pjrt/stablehlo/builder.h"
#include "base/check.h"

namespace dunlin::pjrt {
namespace {

// The sum, as the region of a reduction.
std::string sum_region(Element element) {
  const std::string scalar = TensorType{element, {}}.text();
  return fmt::format(
      "({{\n^bb0(%a: {0}, %b: {0}):\n  %s = stablehlo.add %a, %b : {0}\n"
      "  stablehlo.return %s : {0}\n}})",
      scalar);
}

int64_t group_size(const DeviceGroups& groups) {
  DUNLIN_CHECK(!groups.empty() && !groups.front().empty(), "a collective of no devices");
  return static_cast<int64_t>(groups.front().size());
}

}  // namespace

// Without the braces around them. A channel of type 1 is one between devices.
std::string Builder::collective_attributes(const DeviceGroups& groups) {
  std::string rows;
  for (const std::vector<int64_t>& group : groups)
    rows += fmt::format("{}[{}]", rows.empty() ? "" : ", ", fmt::join(group, ", "));
  return fmt::format(
      "channel_handle = #stablehlo.channel_handle<handle = {}, type = 1>, replica_groups = "
      "dense<[{}]> : tensor<{}x{}xi64>",
      ++channels_, rows, groups.size(), group_size(groups));
}

Var Builder::all_reduce(const Var& x, const DeviceGroups& groups) {
  const std::string attributes = collective_attributes(groups);
  return emit(
      fmt::format("\"stablehlo.all_reduce\"({}) <{{{}, use_global_device_ids}}> {} : ({}) -> {}",
                  x.name, attributes, sum_region(x.type.element), x.type.text(), x.type.text()),
      x.type);
}

Var Builder::all_gather(const Var& x, int64_t axis, const DeviceGroups& groups) {
  TensorType type = x.type;
  type.dims[static_cast<size_t>(axis)] *= group_size(groups);
  const std::string attributes = collective_attributes(groups);
  return emit(fmt::format("\"stablehlo.all_gather\"({}) <{{all_gather_dim = {} : i64, {}, "
                          "use_global_device_ids}}> : ({}) -> {}",
                          x.name, axis, attributes, x.type.text(), type.text()),
              type);
}

Var Builder::reduce_scatter(const Var& x, int64_t axis, const DeviceGroups& groups) {
  TensorType type = x.type;
  int64_t& size = type.dims[static_cast<size_t>(axis)];
  DUNLIN_CHECK(size % group_size(groups) == 0, "parts of " + x.type.text());
  size /= group_size(groups);
  const std::string attributes = collective_attributes(groups);
  return emit(
      fmt::format("\"stablehlo.reduce_scatter\"({}) <{{{}, scatter_dimension = {} : i64, "
                  "use_global_device_ids}}> {} : ({}) -> {}",
                  x.name, attributes, axis, sum_region(x.type.element), x.type.text(), type.text()),
      type);
}

}  // namespace dunlin::pjrt
