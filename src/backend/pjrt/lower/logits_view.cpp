// `logits_view` on a mesh: every device reduces its part of the vocabulary, and only what is left is
// exchanged, in three rounds: candidates, maxima and flags; sums of exponentials; a second moment.
// No device ever has a whole row. R logit rows, N parts, V/N logits of a part, k candidates.
#include <algorithm>
#include <limits>

#include "backend/pjrt/lower/context.h"

namespace dunlin::pjrt {
namespace {

constexpr double kInfinity = std::numeric_limits<double>::infinity();
constexpr double kLargest = std::numeric_limits<float>::max();

class MeshLogitsView {
 public:
  explicit MeshLogitsView(const NodeLowering& it)
      : b_(it.b), context_(it.context), axes_(it.context.axes_of(it.node, 0, 1)) {
    const ValueType& type = context_.program.type(it.node.operands[0]);
    k_ = it.attributes<LogitsViewAttributes>().k;
    logits_ = it.operand(0);
    first_ = b_.multiply(context_.place(axes_), b_.scalar(logits_.dim(1)));
    const int64_t vocabulary = type.dims[1].size;
    if (logits_.dim(1) * context_.places(axes_) > vocabulary) hide_padding(vocabulary);
    const Var given = it.operand(1);  // f32 [R]
    const Var positive = b_.compare("GT", given, b_.filled_like(given, 0.0));
    divisor_ = b_.select(positive, given, b_.filled_like(given, 1.0));
  }

  Vars run() {
    exchange_candidates();
    const Var shifted = b_.subtract(logits_, per_row(largest_));
    const Var e = b_.unary("exponential", shifted);
    const Var divided = b_.divide(logits_, per_row(divisor_));
    const Var largest_divided = b_.divide(largest_, divisor_);  // rounding keeps the order
    const Var e_divided = b_.unary("exponential", b_.subtract(divided, per_row(largest_divided)));
    const Vars sums = summed({row_sum(e), row_sum(e_divided), weighted_sum(e, logits_)});
    const Var lse = b_.add(largest_, b_.unary("log", sums[0]));
    const Var lse_divided = b_.add(largest_divided, b_.unary("log", sums[1]));
    const Var entropy = b_.subtract(lse, b_.divide(sums[2], sums[0]));
    const Var log_probability = b_.subtract(logits_, per_row(lse));
    const Var deviation = b_.add(log_probability, per_row(entropy));
    const Vars moments = summed({weighted_sum(e, b_.multiply(deviation, deviation))});
    const Var varentropy = b_.divide(moments[0], sums[0]);
    Vars columns;
    for (const Var& column : {lse, lse_divided, entropy, varentropy, usable_})
      columns.push_back(as_column(column));
    return {b_.concatenate(columns, 1), ids_, values_};
  }

 private:
  // The last parts of the vocabulary are padded with rows of zeros.
  void hide_padding(int64_t vocabulary) {
    const TensorType type{Element::i32, logits_.type.dims};
    const Var id = b_.add(b_.iota(type, 1), b_.broadcast(first_, type.dims, {}));
    const Var real = b_.compare("LT", id, b_.constant(type, static_cast<double>(vocabulary)));
    logits_ = b_.select(real, logits_, b_.filled_like(logits_, -kInfinity));
  }

  Var per_row(const Var& x) { return b_.broadcast(x, logits_.type.dims, {0}); }
  Var as_column(const Var& x) { return b_.reshape(x, {x.dim(0), 1}); }
  Var row_sum(const Var& x) { return b_.reduce(Reduction::sum, x, 1); }
  Var row_maximum(const Var& x) { return b_.reduce(Reduction::max, x, 1); }

  // The sum of e x, to which an element of probability 0 adds nothing, even if x is infinite there.
  Var weighted_sum(const Var& e, const Var& x) {
    const Var possible = b_.compare("GT", e, b_.filled_like(e, 0.0));
    const Var product = b_.multiply(e, x);
    return row_sum(b_.select(possible, product, b_.filled_like(product, 0.0)));
  }

  // [R,n] of each part -> [R,N,n].
  Var gathered(const Var& x) {
    return context_.gather_over(b_.reshape(x, {x.dim(0), 1, x.dim(1)}), 1, axes_);
  }

  // Columns [R] of each part -> their sums over the parts, in the order of the parts.
  Vars summed(const Vars& columns) {
    Vars parts;
    for (const Var& column : columns) parts.push_back(as_column(column));
    const Var sums = row_sum(gathered(b_.concatenate(parts, 1)));  // [R,n]
    Vars results;
    for (int64_t i = 0; i < sums.dim(1); ++i)
      results.push_back(b_.reshape(b_.slice(sums, 1, i, i + 1), {sums.dim(0)}));
    return results;
  }

  // 1 where an element of the row is, as f32 [R].
  Var any(const Var& condition) { return row_maximum(b_.convert(condition, Element::f32)); }

  // A NaN counts as -infinity: it is never among the best unless nothing else is. The best of all
  // are among the best of each part, and where logits are equal a lower id comes first there, too.
  void exchange_candidates() {
    const Var is_number = b_.compare("EQ", logits_, logits_);
    const Var numbers = b_.select(is_number, logits_, b_.filled_like(logits_, -kInfinity));
    const int64_t some = std::min(k_, logits_.dim(1));
    const Builder::Best best = b_.top_k(numbers, some);
    const Var ids = b_.add(best.indices, b_.broadcast(first_, best.indices.type.dims, {}));
    const Var allowed = b_.compare("LE", logits_, b_.filled_like(logits_, kLargest));
    const Var above = b_.compare("GE", logits_, b_.filled_like(logits_, -kLargest));
    const Vars flags = {as_column(row_maximum(logits_)), as_column(any(b_.both(allowed, above))),
                        as_column(any(b_.unary("not", allowed)))};
    const Var floats = b_.concatenate({best.values, flags[0], flags[1], flags[2]}, 1);
    const Var all = gathered(b_.concatenate({b_.bitcast(floats, Element::i32), ids}, 1));
    const Var of_floats = b_.bitcast(b_.slice(all, 2, 0, some + 3), Element::f32);
    const Var maxima = row_maximum(b_.slice(of_floats, 2, some, some + 3));  // [R,3]
    const auto column = [&](int64_t i) {
      return b_.reshape(b_.slice(maxima, 1, i, i + 1), {maxima.dim(0)});
    };
    largest_ = column(0);
    const Var bad = column(2);
    usable_ = b_.multiply(column(1), b_.subtract(b_.filled_like(bad, 1.0), bad));
    choose(b_.slice(of_floats, 2, 0, some), b_.slice(all, 2, some + 3, 2 * some + 3));
  }

  // Of candidates [R,N,n] with their ids.
  void choose(const Var& values, const Var& ids) {
    const int64_t rows = values.dim(0);
    const int64_t each = values.dim(1) * values.dim(2);
    const Builder::Best best = b_.top_k(b_.reshape(values, {rows, each}), k_);
    const TensorType type = best.indices.type;
    const Var row = b_.multiply(b_.iota(type, 0), b_.constant(type, static_cast<double>(each)));
    values_ = best.values;
    ids_ = b_.gather(b_.reshape(ids, {rows * each}), b_.add(row, best.indices), 0);
  }

  Builder& b_;
  LoweringContext& context_;
  std::vector<MeshAxis> axes_;  // that split the vocabulary
  int64_t k_ = 0;
  Var logits_;   // [R,V/N]
  Var first_;    // i32: id of the first of them
  Var divisor_;  // [R]
  Var largest_, usable_;
  Var ids_, values_;  // [R,k]
};

}  // namespace

// definitions::logits_view.
Vars lower_logits_view(const NodeLowering& it) {
  return MeshLogitsView(it).run();
}

}  // namespace dunlin::pjrt
