// Copies of pages within the KV arrays, for sequences that share their beginning, and zeros behind
// sequences.
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

// The pages of all arrays of this device's part of the batch, or of the part that has them: [arrays, kv
// heads, kPageTokens, head width]. Pages of all parts are exchanged at once, as they are of one type.
Var pages_of(Builder& b, const Vars& arrays, const Vars& from, const Var& owner,
             const ProgramSharding& sharding) {
  Vars own;
  for (const Var& array : arrays) own.push_back(b.dynamic_slice(array, from, page_of(array)));
  Var pages = b.concatenate(own, 0);
  if (sharding.batch_parts() == 1) return pages;
  const Shape dims = pages.type.dims;
  const Shape one{1, dims[0], dims[1], dims[2], dims[3]};
  const Var all =
      b.all_gather(b.reshape(pages, one), 0, device_groups(sharding.mesh(), batch_axes()));
  const Var zero = b.scalar(0);
  return b.reshape(b.dynamic_slice(all, {owner, zero, zero, zero, zero}, one), dims);
}

// The arrays of the group, donated: result i is what argument i becomes.
Vars donated_arrays(Builder& b, const std::vector<TensorType>& arrays,
                    const LoweringOptions& options, const Splits& splits) {
  Vars values;
  for (size_t i = 0; i < arrays.size(); ++i)
    values.push_back(b.argument(arrays[i], kv_attributes(arrays[i], options, i), splits));
  return values;
}

std::string copy_on_one_device(const std::vector<TensorType>& arrays,
                               const LoweringOptions& options) {
  Builder b;
  Vars values = donated_arrays(b, arrays, options, {});
  const Var places = b.argument({Element::i32, {4}});
  const Var zero = b.scalar(0);
  const Vars from = {number(b, places, 0), zero, number(b, places, 1), zero};
  const Vars to = {number(b, places, 2), zero, number(b, places, 3), zero};
  for (Var& array : values) {
    array = b.dynamic_update_slice(array, b.dynamic_slice(array, from, page_of(array)), to);
  }
  return b.finish(values, {}, kv_attributes(arrays, options));
}

// Every part of the batch offers the page of its own at the place it is copied from; the part that
// it goes to takes the right one, the others write what they have.
std::string copy_on_mesh(const std::vector<TensorType>& arrays, const LoweringOptions& options,
                         int32_t group) {
  const ProgramSharding& sharding = *options.sharding;
  Builder b(grid_of(sharding.mesh()));
  const Splits splits = state_splits(sharding, group);
  Vars values = donated_arrays(b, arrays, options, splits);
  const Var places =
      b.argument({Element::i32, {kPageCopyNumbers}}, "", per_device_splits(sharding.mesh()));
  const Var zero = b.scalar(0);
  const Vars from = {number(b, places, 0), zero, number(b, places, 1), zero};
  const Vars to = {number(b, places, 2), zero, number(b, places, 3), zero};
  const Var owner = number(b, places, 4);
  const Var is_target = b.compare("NE", number(b, places, 5), zero);
  const Var pages = pages_of(b, values, from, owner, sharding);
  for (size_t i = 0; i < values.size(); ++i) {
    const Shape dims = page_of(values[i]);
    const auto number_of_page = static_cast<int64_t>(i);
    const Var page = b.slice(pages, 0, number_of_page, number_of_page + 1);
    const Var old = b.dynamic_slice(values[i], to, dims);
    const Var fresh = b.select(b.broadcast(is_target, dims, {}), page, old);
    values[i] = b.dynamic_update_slice(values[i], fresh, to);
  }
  return b.finish(values, std::vector<Splits>(values.size(), splits),
                  kv_attributes(arrays, options));
}

}  // namespace

std::string lower_page_copy(const std::vector<TensorType>& arrays, const LoweringOptions& options,
                            int32_t group) {
  return options.sharding == nullptr ? copy_on_one_device(arrays, options)
                                     : copy_on_mesh(arrays, options, group);
}

std::string lower_place_clear(const std::vector<TensorType>& arrays, const LoweringOptions& options,
                              int32_t group) {
  const ProgramSharding* const sharding = options.sharding.get();
  const bool on_mesh = sharding != nullptr;
  Builder b(on_mesh ? grid_of(sharding->mesh()) : DeviceGrid());
  const Splits splits = on_mesh ? state_splits(*sharding, group) : Splits();
  Vars values = donated_arrays(b, arrays, options, splits);
  const Var list = b.argument({Element::i32, {kPlaceClearNumbers}}, "",
                              on_mesh ? per_device_splits(sharding->mesh()) : Splits());
  const Var zero = b.scalar(0);
  const Vars at = {number(b, list, 0), zero, zero, zero};
  for (Var& array : values) {
    const Shape slot{1, array.dim(1), array.dim(2), array.dim(3)};
    const TensorType places{Element::i32, {array.dim(2)}};
    const auto everywhere = [&](const Var& x) { return b.broadcast(x, places.dims, {}); };
    // How far a place lies behind the first one.
    const Var distance = b.subtract(b.iota(places, 0), everywhere(number(b, list, 1)));
    const Var before = b.compare("LT", distance, b.constant(places, 0.0));
    const Var behind =
        b.select(before, b.plus(distance, static_cast<double>(array.dim(2))), distance);
    const Var within = b.compare("LT", behind, everywhere(number(b, list, 2)));
    const Var here = b.compare("NE", everywhere(number(b, list, 3)), b.constant(places, 0.0));
    const Var cleared = b.broadcast(b.both(within, here), slot, {2});
    const Var old = b.dynamic_slice(array, at, slot);
    const Var mixed = b.select(cleared, b.filled_like(old, 0.0), old);
    array = b.dynamic_update_slice(array, mixed, at);
  }
  const std::vector<Splits> result_splits(on_mesh ? values.size() : 0, splits);
  return b.finish(values, result_splits, kv_attributes(arrays, options));
}

}  // namespace dunlin::pjrt
