// Rules of the logits view and of sampling.
#include "program/rules_detail.h"

namespace dunlin::rules {

namespace {

constexpr int64_t kStatistics = 5;

void expect_per_row(const RuleInput& in, size_t index, const char* name, const char* of,
                    const Dims& rows) {
  const Dims dims = expect(in, index, name, DType::f32, 1);
  if (dims[0] != rows[0]) mismatch(name, dims, of, rows);
}

}  // namespace

ValueTypes logits_view(const RuleInput& in) {
  expect_operands(in, 2, 2);
  const int64_t k = attributes_of<LogitsViewAttributes>(in).k;
  const Dims logits = expect(in, 0, "logits", DType::f32, 2);
  expect_per_row(in, 1, "temperatures", "logits", logits);
  if (k < 1 || !logits[1].known() || k > logits[1].size) {
    fail("{} candidates of logits {}", k, to_string(logits));
  }
  return {{DType::f32, {logits[0], kStatistics}},
          {DType::i32, {logits[0], k}},
          {DType::f32, {logits[0], k}}};
}

ValueTypes sample(const RuleInput& in) {
  expect_operands(in, 5, 5);
  attributes_of<NoAttributes>(in);
  const Dims statistics = expect(in, 0, "statistics", DType::f32, 2);
  const Dims ids = expect(in, 1, "ids", DType::i32, 2);
  const Dims logits = expect(in, 2, "logits", DType::f32, 2);
  if (ids != logits) mismatch("ids", ids, "logits", logits);
  if (!logits[1].known()) fail("logits {} have no fixed number of candidates", to_string(logits));
  if (statistics != Dims{ids[0], kStatistics}) mismatch("statistics", statistics, "ids", ids);
  expect_per_row(in, 3, "temperatures", "ids", ids);
  expect_per_row(in, 4, "random", "ids", ids);
  return {{DType::i32, {ids[0]}}};
}

}  // namespace dunlin::rules
