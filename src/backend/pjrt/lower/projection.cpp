// Products with weights in the forms of packed_forms.h. The text of each form is the one that was
// compiled ahead of time: scales are applied to sums, because XLA writes a weight out as soon as
// anything but a conversion stands between it and the product.
#include <algorithm>
#include <functional>

#include "backend/pjrt/lower/context.h"

namespace dunlin::pjrt {
namespace {

using Kind = DeviceForm::Kind;

// Up to so many rows each group is a product of its own. More rows, of a prompt, would make sums of
// groups that are larger than the weight; for them it is decoded, some columns at a time.
constexpr int64_t kFewRows = 64;
// Of the sums of groups of one product, [G,T,O] in float32. 59 MB stayed in a v5e's 128 MB of VMEM.
constexpr int64_t kSumBytes = int64_t{64} << 20;
constexpr int64_t kTileColumns = 512;  // that are decoded at a time: 15 MB of bf16 at 14336 inputs
constexpr int64_t kLane = 128;         // a TPU's: tiles are whole ones
constexpr int64_t kRowsOfTurn = 16;    // of a table, that a turn of a loop slices

// Scales in float32. A byte of exponent is the exponent field of a float32: 0 is flushed to zero
// where it means 2^-127, and 255, which stands for no number, gives an infinity.
Var scales_of(Builder& b, const DeviceWeight& weight) {
  if (!weight.form.exponents) return weight.scales;
  const Var exponent = b.convert(weight.scales, Element::i32);
  return b.bitcast(b.binary("shift_left", exponent, b.filled_like(exponent, 23.0)), Element::f32);
}

// y[t,o] = sum over g of scale[g,o] (sum over k in g of x[t,k] code[k,o]) + min[g,o] (sum of x[t,k]).
Var sum_of_groups(Builder& b, const Var& x, const DeviceWeight& w, Element element) {
  const Var parts = b.reshape(b.convert(x, element), {x.dim(0), w.codes.dim(0), w.codes.dim(1)});
  const Var sums =
      b.dot(parts, b.convert(w.codes, element),
            {.batch_left = {1}, .batch_right = {0}, .contract_left = {2}, .contract_right = {1}});
  const Var scales = b.broadcast(scales_of(b, w), sums.type.dims, {0, 2});
  const Var y = b.reduce(Reduction::sum, b.multiply(sums, scales), 0);
  if (!w.form.minimums) return y;
  const Var inputs = b.reduce(Reduction::sum, b.convert(parts, Element::f32), 2);
  return b.add(y, b.dot(inputs, w.minimums, {.contract_left = {1}, .contract_right = {0}}));
}

// The same of the decoded matrix: float32 rounded to `element`, as docs/decisions/0002-numerics.md has
// it.
Var product_of_decoded(Builder& b, const Var& x, const DeviceWeight& w, Element element) {
  const Shape& dims = w.codes.type.dims;
  Var values =
      b.multiply(b.convert(w.codes, Element::f32), b.broadcast(scales_of(b, w), dims, {0, 2}));
  if (w.form.minimums) values = b.add(values, b.broadcast(w.minimums, dims, {0, 2}));
  const Var matrix = b.convert(b.reshape(values, {dims[0] * dims[1], dims[2]}), element);
  return b.dot(b.convert(x, element), matrix, {.contract_left = {1}, .contract_right = {0}});
}

// Columns [first, first + count) of a matrix in groups.
DeviceWeight columns_of(Builder& b, const DeviceWeight& w, const Var& first, int64_t count) {
  const Var zero = b.scalar(0);
  const auto cut = [&](const Var& of_groups) {
    return b.dynamic_slice(of_groups, {zero, first}, {of_groups.dim(0), count});
  };
  DeviceWeight part{.form = w.form};
  part.codes =
      b.dynamic_slice(w.codes, {zero, zero, first}, {w.codes.dim(0), w.codes.dim(1), count});
  part.scales = cut(w.scales);
  if (w.form.minimums) part.minimums = cut(w.minimums);
  return part;
}

// [rows, O], made of `each` columns at a time. The last tile reaches back over columns that the one
// before it made, to the same bits.
Var in_tiles(Builder& b, const DeviceWeight& w, int64_t rows, int64_t each,
             const std::function<Var(const DeviceWeight&)>& product) {
  const int64_t columns = w.outputs();
  if (columns <= each) return product(w);
  const Var count = b.scalar((columns + each - 1) / each);
  const Var result = b.constant({Element::f32, {rows, columns}}, 0.0);
  const auto tile = [&](const Var& number, const Vars& carried) {
    const Var start = b.multiply(number, b.scalar(each));
    const Var first = b.minimum(start, b.scalar(columns - each));
    const Var made = product(columns_of(b, w, first, each));
    return Vars{b.dynamic_update_slice(carried[0], made, {b.scalar(0), first})};
  };
  return b.counted_loop(count, {result}, tile).front();
}

// [1,I] times [O,I]: products of two bf16 numbers are exact in float32.
Var sum_of_products(Builder& b, const Var& row, const Var& codes, Element element) {
  const Var rounded = b.convert(b.convert(row, element), Element::f32);
  const Var inputs = b.broadcast(b.reshape(rounded, {row.dim(1)}), codes.type.dims, {1});
  const Var sums = b.reduce(Reduction::sum, b.multiply(b.convert(codes, Element::f32), inputs), 1);
  return b.reshape(sums, {1, codes.dim(0)});
}

Var project_groups(Builder& b, const Var& x, const DeviceWeight& w, Element element) {
  const int64_t rows = x.dim(0);
  if (rows > kFewRows) {
    return in_tiles(b, w, rows, kTileColumns, [&](const DeviceWeight& part) {
      return product_of_decoded(b, x, part, element);
    });
  }
  const int64_t column_bytes = std::max<int64_t>(1, rows) * w.codes.dim(0) * 4;
  const int64_t each = std::max(kLane, kSumBytes / column_bytes / kLane * kLane);
  return in_tiles(b, w, rows, each,
                  [&](const DeviceWeight& part) { return sum_of_groups(b, x, part, element); });
}

// Rows `ids` of an array, each by a slice of its own: [T,..].
Var some_rows(Builder& b, const Var& array, const Var& ids) {
  Shape sizes = array.type.dims;
  sizes.front() = 1;
  Vars rows;
  for (int64_t i = 0; i < ids.dim(0); ++i) {
    Vars starts(sizes.size(), b.scalar(0));
    starts.front() = b.reshape(b.slice(ids, 0, i, i + 1), {});
    rows.push_back(b.dynamic_slice(array, starts, sizes));
  }
  return b.concatenate(rows, 0);
}

// The same of any number of rows. The last turn reaches back over rows of the one before it.
Var sliced_rows(Builder& b, const Var& array, const Var& ids) {
  const int64_t count = ids.dim(0);
  if (count <= kRowsOfTurn) return some_rows(b, array, ids);
  Shape dims = array.type.dims;
  dims.front() = count;
  const auto turn = [&](const Var& number, const Vars& carried) {
    const Var start = b.multiply(number, b.scalar(kRowsOfTurn));
    const Var first = b.minimum(start, b.scalar(count - kRowsOfTurn));
    const Var rows = some_rows(b, array, b.dynamic_slice(ids, {first}, {kRowsOfTurn}));
    Vars place(dims.size(), b.scalar(0));
    place.front() = first;
    return Vars{b.dynamic_update_slice(carried[0], rows, place)};
  };
  const Var turns = b.scalar((count + kRowsOfTurn - 1) / kRowsOfTurn);
  const Var none = b.constant({array.type.element, dims}, 0.0);
  return b.counted_loop(turns, {none}, turn).front();
}

}  // namespace

int64_t DeviceWeight::outputs() const {
  const Shape& dims = codes.type.dims;
  return form.kind == Kind::values || form.inputs_last ? dims[dims.size() - 2] : dims.back();
}

ProductForm product_form(const LoweringOptions& options) {
  return {.element = options.precision == Precision::f32 ? Element::f32 : Element::bf16,
          .row_as_sum = options.platform == Platform::gpu};
}

// The order of a sum is the plug-in's.
Var project(Builder& b, const Var& x, const DeviceWeight& matrix, const ProductForm& form) {
  const bool values = matrix.form.kind == Kind::values;
  const Element element = values ? matrix.codes.type.element : form.element;
  Shape dims = x.type.dims;
  const int64_t columns = dims.back();
  dims.back() = 1;
  const int64_t count = element_count(dims);
  const Var rows = b.reshape(x, {count, columns});
  dims.back() = matrix.outputs();
  if (matrix.form.kind == Kind::groups)
    return b.reshape(project_groups(b, rows, matrix, element), dims);
  const bool inputs_last = values || matrix.form.inputs_last;
  Var sums = form.row_as_sum && count == 1 && inputs_last
                 ? sum_of_products(b, rows, matrix.codes, element)
                 : b.dot(b.convert(rows, element), b.convert(matrix.codes, element),
                         {.contract_left = {1}, .contract_right = {inputs_last ? 1 : 0}});
  if (!values) sums = b.multiply(sums, b.broadcast(matrix.scales, sums.type.dims, {1}));
  return b.reshape(sums, dims);
}

DeviceWeight one_of(Builder& b, const DeviceWeight& stack, const Var& index) {
  const Var zero = b.scalar(0);
  const auto cut = [&](const Var& array) {
    if (array.name.empty()) return Var();
    Shape sizes = array.type.dims;
    sizes.front() = 1;
    Vars starts(sizes.size(), zero);
    starts.front() = index;
    const Var slice = b.dynamic_slice(array, starts, sizes);
    sizes.erase(sizes.begin());
    return b.reshape(slice, sizes);
  };
  DeviceWeight one{.form = stack.form};
  one.codes = cut(stack.codes);
  one.scales = cut(stack.scales);
  one.minimums = cut(stack.minimums);
  return one;
}

TableReads table_reads(Platform platform, const DeviceWeight& table) {
  const bool whole_tiles = table.codes.dim(1) % kLane == 0;
  return platform == Platform::tpu && !whole_tiles ? TableReads::slices : TableReads::gather;
}

Var table_rows(Builder& b, const DeviceWeight& table, const Var& ids, TableReads reads) {
  const auto rows_of = [&](const Var& array) {
    return reads == TableReads::gather ? b.gather(array, ids, 0) : sliced_rows(b, array, ids);
  };
  const Var codes = b.convert(rows_of(table.codes), Element::f32);
  if (table.form.kind == Kind::values) return codes;
  const Var scales = rows_of(table.scales);  // [T,G] or [T]
  const int64_t group = table.form.group == 0 ? codes.dim(1) : table.form.group;
  const Shape parts{ids.dim(0), codes.dim(1) / group, group};
  const Axes axes = scales.rank() == 1 ? Axes{0} : Axes{0, 1};
  Var values = b.multiply(b.reshape(codes, parts), b.broadcast(scales, parts, axes));
  if (table.form.minimums) {
    const Var minimums = rows_of(table.minimums);
    values = b.add(values, b.broadcast(minimums, parts, axes));
  }
  return b.reshape(values, codes.type.dims);
}

}  // namespace dunlin::pjrt
