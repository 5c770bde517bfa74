// Norms x once per class, each row behind its gathering, and prepares it once per class and arithmetic,
// then splits stripes of 16 output channels over the threads: neighbouring stripes stay together, so
// each worker streams through one range of weights. All rows are gathered by then: x may be a residual.
#include "backend/cpu/linear_step.h"

#include <algorithm>

#include "backend/cpu/arena.h"
#include "backend/cpu/work_sizes.h"
#include "base/check.h"

namespace dunlin::cpu {

LinearStep::LinearStep(LinearSettings settings) : settings_(std::move(settings)) {
  one_class_ = true;
  for (const LinearMatrix& matrix : settings_.matrices) {
    needed_[0][static_cast<size_t>(matrix.arithmetic[0])] = true;
    needed_[1][static_cast<size_t>(matrix.arithmetic[1])] = true;
    one_class_ = one_class_ && matrix.arithmetic[0] == matrix.arithmetic[1];
    stripes_ += matrix.weight.layout.stripes();
    bytes_ += matrix.weight.layout.bytes();
  }
  if (settings_.gated.run != nullptr) stripes_ = settings_.matrices[0].weight.layout.stripes();
  const StepLimits& limits = settings_.limits;
  const int64_t rows = settings_.rows.count({.rows = limits.rows,
                                             .logit_rows = limits.logit_rows,
                                             .sequences = limits.sequences,
                                             .slots = limits.context});
  const int64_t runs =
      one_class_ ? 1 : std::min(rows, std::max(limits.sequences, limits.logit_rows));
  // Every run of rows ends in a tile of its own at worst.
  const int64_t tiles = (rows + kRowTile - 1) / kRowTile + runs;
  for (size_t a = 0; a < kArithmetics; ++a) {
    if (!needed_[0][a] && !needed_[1][a]) continue;
    const auto arithmetic = static_cast<Arithmetic>(a);
    const int64_t whole = activation_bytes(arithmetic, rows, settings_.columns);
    const int64_t tile = activation_bytes(arithmetic, kRowTile, settings_.columns);
    scratch_bytes_ += round_up(std::max(whole, tiles * tile), kCacheLine) + runs * kCacheLine;
  }
  blocks_.reserve(static_cast<size_t>(runs));
}

void LinearStep::run(const RunContext& context) noexcept {
  cut_into_blocks(context);
  if (blocks_.empty()) return;
  prepare(context);
  multiply(context);
}

// A stripe is read once for the rows of both classes; of a table of embeddings a row for each.
std::optional<StepWork> LinearStep::work(const RunContext& /*context*/) const noexcept {
  int64_t rows = 0;
  for (const Block& block : blocks_) rows += block.rows;
  if (rows == 0) return StepWork{};
  double elements = 0;
  for (const LinearMatrix& matrix : settings_.matrices) {
    const PackedLayout& layout = matrix.weight.layout;
    elements += static_cast<double>(layout.rows) * static_cast<double>(layout.columns);
  }
  const EmbedRows& embed = settings_.embed;
  const int64_t gathered = embed.decode.run == nullptr ? 0 : rows * embed.row_bytes();
  return StepWork{.bytes = static_cast<double>(bytes_ + gathered),
                  .flops = 2 * static_cast<double>(rows) * elements};
}

void LinearStep::cut_into_blocks(const RunContext& context) noexcept {
  blocks_.clear();
  int64_t used = 0;
  const LeadingRows& rows = settings_.rows;
  const int64_t count = rows.count(context.sizes());
  if (one_class_ || rows.symbol == Symbol::none) {
    if (count > 0) add_block({0, count, RowClass::prompt}, context, &used);
    return;
  }
  for (const RowRun& run : context.tables.runs(rows.symbol)) {
    add_block({run.first * rows.repeats, run.end * rows.repeats, run.row_class}, context, &used);
  }
}

void LinearStep::add_block(const RowRun& run, const RunContext& context, int64_t* used) noexcept {
  Block block{run.first, run.end - run.first, run.row_class, {}};
  for (size_t a = 0; a < kArithmetics; ++a) {
    if (!needed_[index(run.row_class)][a]) continue;
    block.activations[a] = context.scratch + *used;
    *used += round_up(activation_bytes(static_cast<Arithmetic>(a), block.rows, settings_.columns),
                      kCacheLine);
  }
  DUNLIN_CHECK(*used <= scratch_bytes_, "prepared activations exceed their memory");
  blocks_.push_back(block);
}

// Memory for a tile of normed rows, while nothing is multiplied yet.
int64_t LinearStep::workspace_bytes() const {
  if (settings_.norm.run == nullptr) return kLinearWorkspaceBytes;
  const int64_t normed = kRowTile * settings_.columns * static_cast<int64_t>(sizeof(float));
  return std::max(kLinearWorkspaceBytes, normed);
}

// Rows of few tiles are normed one by one first, each into the workspace that has its tile's number: a
// tile would keep one thread busy while others wait.
void LinearStep::prepare(const RunContext& context) const noexcept {
  const int64_t columns = settings_.columns;
  const bool normed = settings_.norm.run != nullptr;
  for (const Block& block : blocks_) {
    const int64_t tiles = (block.rows + kRowTile - 1) / kRowTile;
    const bool norm_first = normed && tiles <= context.pool.threads();
    const auto memory_of = [&](int64_t tile) { return context.workspace(static_cast<int>(tile)); };
    if (norm_first) {
      for_tasks(context, block.rows, columns, [&](int64_t begin, int64_t end, int /*worker*/) {
        for (int64_t row = begin; row < end; ++row)
          norm_rows(block, row, row + 1, memory_of(row / kRowTile));
      });
    }
    const auto prepare_tiles = [&](int64_t begin, int64_t end, int worker) {
      for (int64_t tile = begin; tile < end; ++tile) {
        const int64_t first = tile * kRowTile;
        const int64_t last = std::min(block.rows, first + kRowTile);
        const float* x = settings_.x + (block.first + first) * columns;
        if (normed) {
          std::byte* const memory = norm_first ? memory_of(tile) : context.workspace(worker);
          if (!norm_first) norm_rows(block, first, last, memory);
          x = reinterpret_cast<const float*>(memory);
        }
        prepare_rows(block, first, last, x);
      }
    };
    for_tasks(context, tiles, std::min(block.rows, kRowTile) * columns, prepare_tiles);
  }
}

void LinearStep::norm_rows(const Block& block, int64_t first, int64_t end,
                           std::byte* memory) const noexcept {
  const int64_t columns = settings_.columns;
  auto* const normed = reinterpret_cast<float*>(memory);
  for (int64_t row = first; row < end; ++row) {
    if (settings_.embed.decode.run != nullptr) settings_.embed.gather(block.first + row);
    settings_.norm.run(settings_.x + (block.first + row) * columns, settings_.norm_weight, columns,
                       settings_.eps, normed + row % kRowTile * columns);
  }
}

void LinearStep::prepare_rows(const Block& block, int64_t first, int64_t end,
                              const float* x) const noexcept {
  for (size_t a = 0; a < kArithmetics; ++a) {
    if (block.activations[a] == nullptr) continue;
    PrepareArgs args{};
    args.x = x;
    args.x_stride = settings_.columns;
    args.rows = block.rows;
    args.columns = settings_.columns;
    args.row_begin = first;
    args.row_end = end;
    args.out = block.activations[a];
    args.x_row = first;
    settings_.prepare[a].run(args);
  }
}

// Rows are split only where there are too few stripes for all threads.
int64_t LinearStep::row_parts(int64_t rows, int threads) const noexcept {
  if (stripes_ >= 2 * threads) return 1;
  const int64_t wanted = (2 * threads + stripes_ - 1) / stripes_;
  return std::clamp<int64_t>(rows / kRowTile, 1, wanted);
}

void LinearStep::multiply(const RunContext& context) const noexcept {
  int64_t rows = 0;
  for (const Block& block : blocks_) rows += block.rows;
  const int threads = context.pool.threads();
  const int64_t parts = row_parts(rows, threads);
  const auto run_tasks = [&](int64_t begin, int64_t end, int worker) {
    while (begin < end) {
      const int64_t part = begin / stripes_;
      const int64_t first = begin % stripes_;
      const int64_t count = std::min(end - begin, stripes_ - first);
      if (settings_.gated.run != nullptr) {
        run_gated_stripes(first, first + count, part, parts, context.workspace(worker));
      } else {
        run_stripes(first, first + count, part, parts, context.workspace(worker));
      }
      begin += count;
    }
  };
  const int64_t tasks = stripes_ * parts;
  if (threads == 1 || rows * bytes_ < kSerialBytes) {
    run_tasks(0, tasks, 0);
    return;
  }
  const int64_t whole_piece =
      rows >= kManyRows ? kTileStripeBlock : std::max<int64_t>(1, kPieceBytes * stripes_ / bytes_);
  const int64_t even_piece = std::max<int64_t>(1, tasks / (int64_t{4} * threads));
  context.pool.parallel_for(tasks, std::min(whole_piece, even_piece), run_tasks);
}

void LinearStep::multiply_stripes(const LinearMatrix& matrix, int64_t begin, int64_t end,
                                  const Block& block, int64_t row_begin, int64_t row_end,
                                  std::byte* workspace) const noexcept {
  const size_t row_class = index(block.row_class);
  const int64_t width = matrix.weight.layout.rows;
  LinearArgs args{};
  args.weight = matrix.weight;
  args.stripe_begin = begin;
  args.stripe_end = end;
  args.activations = block.activations[static_cast<size_t>(matrix.arithmetic[row_class])];
  args.rows = block.rows;
  args.row_begin = row_begin;
  args.row_end = row_end;
  args.y = matrix.y + block.first * width;
  args.y_stride = width;
  args.bias = matrix.bias;
  args.residual = matrix.residual == nullptr ? nullptr : matrix.residual + block.first * width;
  args.workspace = workspace;
  args.prefetch_bytes = settings_.prefetch_bytes;
  matrix.kernel[row_class].run(args);
}

namespace {

struct RowRange {
  int64_t begin;
  int64_t end;
};

// Part `part` of `parts` of a block's rows, cut at multiples of kRowTile.
RowRange part_of(int64_t rows, int64_t part, int64_t parts) {
  const int64_t tiles = (rows + kRowTile - 1) / kRowTile;
  return {std::min(rows, tiles * part / parts * kRowTile),
          std::min(rows, tiles * (part + 1) / parts * kRowTile)};
}

}  // namespace

void LinearStep::run_stripes(int64_t begin, int64_t end, int64_t part, int64_t parts,
                             std::byte* workspace) const noexcept {
  int64_t first = 0;  // stripe of the matrix in turn
  for (const LinearMatrix& matrix : settings_.matrices) {
    const int64_t stripes = matrix.weight.layout.stripes();
    const int64_t from = std::clamp<int64_t>(begin - first, 0, stripes);
    const int64_t to = std::clamp<int64_t>(end - first, 0, stripes);
    first += stripes;
    if (from == to) continue;
    for (const Block& block : blocks_) {
      const RowRange rows = part_of(block.rows, part, parts);
      if (rows.begin < rows.end) {
        multiply_stripes(matrix, from, to, block, rows.begin, rows.end, workspace);
      }
    }
  }
}

void LinearStep::run_gated_stripes(int64_t begin, int64_t end, int64_t part, int64_t parts,
                                   std::byte* workspace) const noexcept {
  const LinearMatrix& gate = settings_.matrices[0];
  const LinearMatrix& up = settings_.matrices[1];
  const int64_t width = gate.weight.layout.rows;
  const int64_t column = begin * kStripeRows;
  const int64_t columns = std::min(width, end * kStripeRows) - column;
  for (const Block& block : blocks_) {
    const RowRange rows = part_of(block.rows, part, parts);
    if (rows.begin >= rows.end) continue;
    multiply_stripes(gate, begin, end, block, rows.begin, rows.end, workspace);
    multiply_stripes(up, begin, end, block, rows.begin, rows.end, workspace);
    for (int64_t row = rows.begin; row < rows.end; ++row) {
      const int64_t at = (block.first + row) * width + column;
      settings_.gated.run(gate.y + at, up.y + at, columns, settings_.alpha, settings_.limit,
                          settings_.gated_y + at);
    }
  }
}

std::vector<std::pair<std::string, std::string>> LinearStep::kernels() const {
  std::vector<std::pair<std::string, std::string>> names;
  for (const LinearMatrix& matrix : settings_.matrices) {
    const std::string form = packed_form_name(matrix.weight.layout.form);
    names.emplace_back(settings_.name + " " + form + " prompt",
                       matrix.kernel[index(RowClass::prompt)].name);
    names.emplace_back(settings_.name + " " + form + " generated",
                       matrix.kernel[index(RowClass::generated)].name);
  }
  if (settings_.embed.decode.run != nullptr)
    names.emplace_back("embed", settings_.embed.decode.name);
  if (settings_.norm.run != nullptr) names.emplace_back("rms_norm", settings_.norm.name);
  if (settings_.gated.run != nullptr) names.emplace_back("gated", settings_.gated.name);
  return names;
}

}  // namespace dunlin::cpu
