// Copies of pages within the KV arrays, for sequences that share their beginning.
#include "backend/pjrt/lower/lower.h"
#include "backend/pjrt/sharding/grid.h"
#include "backend/pjrt/stablehlo/builder.h"
#include "program/sharding.h"

namespace dunlin::pjrt {
namespace {

Var number(Builder& b, const Var& list, int64_t i) {
  return b.reshape(b.slice(list, 0, i, i + 1), {});
}

Shape page_of(const Var& array) {
  return {1, array.dim(1), kPageTokens, array.dim(3)};
}

}  // namespace

std::string lower_page_copy(const std::vector<TensorType>& arrays) {
  Builder b;
  Vars values;
  for (size_t i = 0; i < arrays.size(); ++i) {
    values.push_back(
        b.argument(arrays[i], "{tf.aliasing_output = " + std::to_string(i) + " : i32}"));
  }
  const Var places = b.argument({Element::i32, {4}});
  const Var zero = b.scalar(0);
  const Vars from = {number(b, places, 0), zero, number(b, places, 1), zero};
  const Vars to = {number(b, places, 2), zero, number(b, places, 3), zero};
  for (Var& array : values) {
    array = b.dynamic_update_slice(array, b.dynamic_slice(array, from, page_of(array)), to);
  }
  return b.finish(values);
}

// Every part of the batch offers the page of its own at the place it is copied from; the part that
// it goes to takes the right one, the others write what they have.
std::string lower_page_copy(const std::vector<TensorType>& arrays, const ProgramSharding& sharding,
                            int32_t group) {
  Builder b(grid_of(sharding.mesh()));
  const Splits splits = state_splits(sharding, group);
  Vars values;
  for (size_t i = 0; i < arrays.size(); ++i) {
    values.push_back(
        b.argument(arrays[i], "{tf.aliasing_output = " + std::to_string(i) + " : i32}", splits));
  }
  const Var places =
      b.argument({Element::i32, {kPageCopyNumbers}}, "", per_device_splits(sharding.mesh()));
  const Var zero = b.scalar(0);
  const Vars from = {number(b, places, 0), zero, number(b, places, 1), zero};
  const Vars to = {number(b, places, 2), zero, number(b, places, 3), zero};
  const Var owner = number(b, places, 4);
  const Var is_target = b.compare("NE", number(b, places, 5), zero);
  for (Var& array : values) {
    const Shape dims = page_of(array);
    Var page = b.dynamic_slice(array, from, dims);
    if (sharding.batch_parts() > 1) {
      page = b.all_gather(page, 0, device_groups(sharding.mesh(), batch_axes()));
      page = b.dynamic_slice(page, {owner, zero, zero, zero}, dims);
    }
    const Var old = b.dynamic_slice(array, to, dims);
    const Var fresh = b.select(b.broadcast(is_target, dims, {}), page, old);
    array = b.dynamic_update_slice(array, fresh, to);
  }
  return b.finish(values, std::vector<Splits>(values.size(), splits));
}

}  // namespace dunlin::pjrt
