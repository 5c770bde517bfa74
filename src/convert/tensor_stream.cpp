#include "convert/tensor_stream.h"

#include <algorithm>
#include <array>
#include <cstring>
#include <memory>
#include <utility>

#include "base/byte_source.h"
#include "base/check.h"
#include "base/fallible_loop.h"

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

// Some rows of a tensor in memory, read under the numbers that they have in all of it.
class TensorStream::Window final : public ByteSource {
 public:
  Window(std::string name, int64_t row_bytes) : name_(std::move(name)), row_bytes_(row_bytes) {}

  // Rows [first, first + count), whose bytes the caller then stores.
  std::byte* move_to(int64_t first, int64_t count) {
    begin_ = static_cast<uint64_t>(first * row_bytes_);
    bytes_.resize(static_cast<size_t>(count * row_bytes_));
    return bytes_.data();
  }

  Result<void> read_at(uint64_t offset, std::span<std::byte> into) const override {
    DUNLIN_CHECK(offset >= begin_ && offset + into.size() <= begin_ + bytes_.size(),
                 "rows outside of those that were read");
    std::memcpy(into.data(), bytes_.data() + (offset - begin_), into.size());
    return {};
  }
  uint64_t size() const override { return begin_ + bytes_.size(); }
  const std::string& name() const override { return name_; }

 private:
  std::string name_;
  int64_t row_bytes_;
  uint64_t begin_ = 0;
  std::vector<std::byte> bytes_ = {};
};

TensorStream::TensorStream(ThreadPool& pool) : pool_(pool) {}

std::optional<WeightView> source_of_both(const TensorPlan& even, const TensorPlan& odd) {
  const auto plain = [](const TensorPlan& plan) {
    return !plan.scaling && !plan.scales && !plan.weights_in_byte && plan.interleaved_head_dim == 0;
  };
  return plain(even) && plain(odd) ? rows_in_turn(even.view, odd.view) : std::nullopt;
}

Result<void> TensorStream::write_both(const TensorPlan& even, const TensorPlan& odd,
                                      const WeightView& both, const TakeBytesOfBoth& take) {
  std::array<TensorPlan, 2> plans = {even, odd};
  std::array<std::shared_ptr<Window>, 2> windows;
  for (size_t i = 0; i < plans.size(); ++i) {
    WeightView& view = plans[i].view;
    windows[i] = std::make_shared<Window>(view.source->name(), view.bytes_per_row());
    view.source = windows[i];
    view.offset = 0;
    view.row_map = {};
  }
  Job even_job(plans[0], pool_.threads());
  Job odd_job(plans[1], pool_.threads());
  const std::array<Job*, 2> jobs = {&even_job, &odd_job};
  // A task of each for every thread and one that waits: rows as they are stored stay in memory.
  const int64_t most = std::min(even_job.piece_rows, 2 * pool_.threads() * even_job.task_rows);
  for (int64_t row = 0; row < even_job.rows; row += most) {
    const int64_t count = std::min(most, even_job.rows - row);
    DUNLIN_RETURN_IF_ERROR(
        read_both(both, row, count, even_job.task_rows, *windows[0], *windows[1]));
    for (const size_t number : {size_t{1}, size_t{0}}) {
      DUNLIN_RETURN_IF_ERROR(encode_piece(*jobs[number], row, count));
      DUNLIN_RETURN_IF_ERROR(take(number, encoded_));
    }
  }
  return {};
}

Result<void> TensorStream::read_both(const WeightView& both, int64_t first, int64_t count,
                                     int64_t task_rows, Window& even, Window& odd) {
  const int64_t bytes = both.bytes_per_row();
  std::byte* const even_rows = even.move_to(first, count);
  std::byte* const odd_rows = odd.move_to(first, count);
  return try_parallel_for(
      pool_, count, task_rows, [&](int64_t begin, int64_t end, int /*worker*/) -> Result<void> {
        const int64_t rows = 2 * (end - begin);
        std::vector<std::byte> stored(static_cast<size_t>(rows * bytes));
        DUNLIN_RETURN_IF_ERROR(both.read_rows(2 * (first + begin), rows, stored));
        part_rows(stored.data(), rows, bytes, even_rows + begin * bytes, odd_rows + begin * bytes);
        return {};
      });
}

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
