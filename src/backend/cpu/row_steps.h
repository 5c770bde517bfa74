// Steps whose rows or elements are independent: each worker runs a kernel over rows of its own.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "backend/cpu/bound_step.h"
#include "backend/cpu/kernels/kernels.h"
#include "backend/cpu/select.h"
#include "program/attributes.h"

namespace dunlin::cpu {

// A step that runs `row` for each row of LeadingRows; `work` is about the float operations of one.
template <typename Row>
class RowStep final : public BoundStep {
 public:
  RowStep(std::string operation, std::string kernel, LeadingRows rows, int64_t work, Row row)
      : operation_(std::move(operation)),
        kernel_(std::move(kernel)),
        rows_(rows),
        work_(work),
        row_(row) {}

  void run(const RunContext& context) noexcept override {
    for_tasks(context, rows_.count(context.sizes()), work_,
              [this, &context](int64_t begin, int64_t end, int /*worker*/) {
                for (int64_t row = begin; row < end; ++row) row_(context, row);
              });
  }
  std::vector<std::pair<std::string, std::string>> kernels() const override {
    return {{operation_, kernel_}};
  }

 private:
  std::string operation_;
  std::string kernel_;
  LeadingRows rows_;
  int64_t work_;
  Row row_;  // row_(context, number); noexcept, without allocation
};

template <typename Row>
std::unique_ptr<BoundStep> make_row_step(std::string operation, std::string kernel,
                                         LeadingRows rows, int64_t work, Row row) {
  return std::make_unique<RowStep<Row>>(std::move(operation), std::move(kernel), rows, work, row);
}

}  // namespace dunlin::cpu
