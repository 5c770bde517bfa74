#include "convert/tensor_stream.h"

#include <algorithm>
#include <cstring>

namespace dunlin {
namespace {

constexpr int64_t kTasksOfAPiece = 64;

// What one thread works with.
struct Worker {
  RowEncoder encoder;
  std::vector<std::byte> rows = {};  // with their scales, of which either part is written
};

}  // namespace

RowTarget target_of(const TensorPlan& plan) {
  RowTarget target{.form = {&traits(plan.format), plan.view.columns},
                   .interleaved_head_dim = plan.interleaved_head_dim,
                   .importance = plan.importance};
  if (!plan.scaling) return target;
  const int64_t columns = plan.scaling->columns;
  target.form.format = &traits(plan.scaling->format);
  target.form.scale_columns = columns > 0 ? columns : plan.view.columns;
  target.scale_rows = plan.scaling->rows;
  return target;
}

uint64_t TensorPlan::bytes() const {
  int64_t each = row_bytes(traits(format), view.columns);
  int64_t count = view.rows;
  if (scales) {
    const RowTarget target = target_of(*this);
    each = target.form.scale_bytes();
    count = (view.rows + target.scale_rows - 1) / target.scale_rows;
  }
  return static_cast<uint64_t>(count * each);
}

// A tensor on its way. `rows` are those of what is written, each of `row_bytes`; a task has some.
struct TensorStream::Job {
  explicit Job(const TensorPlan& tensor, int threads) : plan(tensor), target(target_of(tensor)) {
    const WeightView& view = plan.view;
    const int64_t block = target.scale_rows;
    rows = plan.scales ? (view.rows + block - 1) / block : view.rows;
    row_bytes = plan.scales ? target.form.scale_bytes()
                            : dunlin::row_bytes(traits(plan.format), view.columns);
    const auto rows_of = [&](int64_t elements) {
      const int64_t blocks = std::max<int64_t>(1, elements / (view.columns * block));
      return plan.scales ? blocks : blocks * block;
    };
    const int64_t at_once = encoded_elements(view);
    task_rows = rows_of(at_once);
    piece_rows = std::max(task_rows, rows_of(kTasksOfAPiece * at_once));
    for (int i = 0; i < threads; ++i) workers.push_back({RowEncoder(view, target)});
  }

  // Rows [first, first + count) of what is written.
  Result<void> encode(int64_t first, int64_t count, Worker& worker, std::byte* out) const {
    if (plan.scales) {
      std::vector<float> scales(static_cast<size_t>(count * target.form.scales()));
      DUNLIN_RETURN_IF_ERROR(worker.encoder.find_scales(first, count, scales.data()));
      std::memcpy(out, scales.data(), scales.size() * sizeof(float));
      return {};
    }
    if (!plan.scaling) return worker.encoder.encode(first, count, out);
    const int64_t bytes = target.form.bytes();
    worker.rows.resize(static_cast<size_t>(count * bytes));
    DUNLIN_RETURN_IF_ERROR(worker.encoder.encode(first, count, worker.rows.data()));
    for (int64_t i = 0; i < count; ++i) {
      std::memcpy(out + i * row_bytes, worker.rows.data() + i * bytes + target.form.scale_bytes(),
                  static_cast<size_t>(row_bytes));
    }
    return {};
  }

  const TensorPlan& plan;
  RowTarget target;
  int64_t rows, row_bytes, task_rows, piece_rows;
  std::vector<Worker> workers = {};
};

TensorStream::TensorStream(ThreadPool& pool) : pool_(pool) {}

Result<void> TensorStream::write(const TensorPlan& plan, const TakeBytes& take) {
  Job job(plan, pool_.threads());
  for (int64_t row = 0; row < job.rows; row += job.piece_rows) {
    DUNLIN_RETURN_IF_ERROR(encode_piece(job, row, std::min(job.piece_rows, job.rows - row)));
    DUNLIN_RETURN_IF_ERROR(take(encoded_));
  }
  return {};
}

Result<void> TensorStream::encode_piece(Job& job, int64_t first, int64_t count) {
  encoded_.resize(static_cast<size_t>(count * job.row_bytes));
  std::vector<Result<void>> results(
      static_cast<size_t>((count + job.task_rows - 1) / job.task_rows));
  pool_.parallel_for(std::ssize(results), 1, [&](int64_t begin, int64_t end, int worker) {
    for (int64_t task = begin; task < end; ++task) {
      const int64_t row = task * job.task_rows;
      results[static_cast<size_t>(task)] = job.encode(
          first + row, std::min(job.task_rows, count - row),
          job.workers[static_cast<size_t>(worker)], encoded_.data() + row * job.row_bytes);
    }
  });
  const auto failed =
      std::ranges::find_if(results, [](const auto& result) { return !result.ok(); });
  return failed == results.end() ? Result<void>() : *failed;
}

}  // namespace dunlin
