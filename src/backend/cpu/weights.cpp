// Resolves, lays out and packs the weights.
#include "backend/cpu/weights.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstring>
#include <new>

#include "backend/cpu/select.h"
#include "backend/weight_shape.h"

namespace dunlin::cpu {

namespace {

constexpr int64_t kReadBytes = 1 << 20;  // of one pread

struct WeightUse {
  bool embed = false;   // rows must decode exactly
  bool packed = false;  // read by linear or embed
  bool plain = false;
};

// One weight on its way into the arena.
struct Source {
  WeightView view;
  WeightUse use;
  PackedLayout layout;
  int64_t packed_at = -1;
  int64_t plain_at = -1;
};

// Rows of one pread: about kReadBytes, in multiples of `multiple`.
int64_t rows_of_piece(const WeightView& view, int64_t multiple) {
  const int64_t row_bytes = std::max<int64_t>(1, view.bytes_per_row());
  return std::max(multiple, kReadBytes / row_bytes / multiple * multiple);
}

// Rows [first, first + count) as bytes, a bounded piece at a time: fn(first, count, bytes).
template <typename Function>
Result<void> for_each_piece(const WeightView& view, int64_t first, int64_t count, int64_t multiple,
                            std::vector<std::byte>& buffer, Function fn) {
  const int64_t most = rows_of_piece(view, multiple);
  const int64_t end = first + count;
  for (int64_t row = first; row < end; row += most) {
    const int64_t rows = std::min(most, end - row);
    const auto bytes = static_cast<size_t>(rows * view.bytes_per_row());
    if (buffer.size() < bytes) buffer.resize(bytes);
    DUNLIN_RETURN_IF_ERROR(view.read_rows(row, rows, std::span(buffer.data(), bytes)));
    fn(row, rows, buffer.data());
  }
  return {};
}

class Loader {
 public:
  Loader(const Program& program, const std::vector<FusedStep>& steps, const WeightSource& source,
         const CompileOptions& options)
      : program_(program),
        steps_(steps),
        source_(source),
        options_(options),
        sources_(program.weights.size()) {}

  Result<void> resolve();
  int64_t bytes() const { return bytes_; }
  std::vector<uint64_t> bytes_by_weight() const;
  int64_t loading_bytes() const { return loading_bytes_; }
  Result<void> read(ThreadPool& pool, std::byte* arena);
  // Without an arena the packed matrices have no data.
  std::vector<HeldWeight> held(const std::byte* arena) const;

 private:
  Source& of(WeightId weight) { return sources_[static_cast<size_t>(weight)]; }
  void note_uses();
  Result<void> resolve_weight(WeightId weight);
  int64_t reserve(int64_t bytes);
  Result<void> read_plain(const Source& source, float* values);
  Result<void> pack(ThreadPool& pool, const Source& source, std::byte* packed);
  Result<void> pack_stripes(const Source& source, int64_t begin, int64_t end, size_t worker,
                            std::byte* packed);
  void report(size_t done, const std::string& name) const;

  const Program& program_;
  const std::vector<FusedStep>& steps_;
  const WeightSource& source_;
  const CompileOptions& options_;
  std::vector<Source> sources_;  // by WeightId
  std::vector<WeightId> order_;  // of first use
  int64_t bytes_ = 0;
  int64_t loading_bytes_ = 0;
  std::vector<std::vector<std::byte>> buffers_;  // by worker
  std::vector<std::vector<std::byte>> scratch_;
  std::vector<std::optional<Error>> errors_;
};

void Loader::note_uses() {
  const auto note = [this](ValueId id, bool packed, bool embed) {
    const Value& value = program_.values[static_cast<size_t>(id)];
    if (value.kind != Value::Kind::weight) return;
    WeightUse& use = of(value.weight).use;
    if (!use.packed && !use.plain) order_.push_back(value.weight);
    (packed ? use.packed : use.plain) = true;
    use.embed = use.embed || embed;
  };
  for (const FusedStep& step : steps_) {
    for (const int32_t number : step.nodes()) {
      const Node& node = program_.nodes[static_cast<size_t>(number)];
      if (select_runner(program_, node) != Runner::kernel) continue;
      for (size_t i = 0; i < node.operands.size(); ++i) {
        note(node.operands[i], reads_packed(node, i), node.op == Op::embed);
      }
    }
  }
  for (const Output& output : program_.outputs) note(output.value, false, false);
}

int64_t Loader::reserve(int64_t bytes) {
  const int64_t at = bytes_;
  bytes_ = round_up(bytes_ + bytes, kCacheLine);
  return at;
}

Result<void> Loader::resolve_weight(WeightId weight) {
  const WeightDeclaration& declaration = program_.weights[static_cast<size_t>(weight)];
  Source& source = of(weight);
  DUNLIN_ASSIGN_OR_RETURN(source.view, source_(declaration.name));
  DUNLIN_RETURN_IF_ERROR(check_shape(declaration, source.view));
  const WeightView& view = source.view;
  if (source.use.plain) source.plain_at = reserve(view.rows * view.columns * int64_t{4});
  if (!source.use.packed) return {};
  const FormatTraits& format = traits(view.format);
  const bool exact_rows = source.use.embed || options_.precision == Precision::f32;
  const std::optional<PackedLayout> layout =
      packed_layout(format, view.rows, view.columns, exact_rows);
  if (!layout) {
    return model_error(fmt::format("tensor {} in {}: the CPU back end does not pack format {}",
                                   declaration.name, view.source->name(), format.name));
  }
  source.layout = *layout;
  source.packed_at = reserve(layout->bytes());
  const int64_t piece =
      std::min(view.rows, rows_of_piece(view, kStripeRows)) * view.bytes_per_row();
  loading_bytes_ = std::max(loading_bytes_, piece + pack_scratch_bytes(*layout) + kCacheLine);
  return {};
}

Result<void> Loader::resolve() {
  note_uses();
  for (const WeightId weight : order_) DUNLIN_RETURN_IF_ERROR(resolve_weight(weight));
  return {};
}

void Loader::report(size_t done, const std::string& name) const {
  if (!options_.progress) return;
  options_.progress(
      static_cast<double>(done) / static_cast<double>(std::max<size_t>(1, order_.size())), name);
}

Result<void> Loader::read(ThreadPool& pool, std::byte* arena) {
  const auto threads = static_cast<size_t>(pool.threads());
  buffers_.resize(threads);
  scratch_.resize(threads);
  errors_.resize(threads);
  for (size_t i = 0; i < order_.size(); ++i) {
    const Source& source = of(order_[i]);
    report(i, program_.weights[static_cast<size_t>(order_[i])].name);
    if (source.plain_at >= 0) {
      DUNLIN_RETURN_IF_ERROR(read_plain(source, reinterpret_cast<float*>(arena + source.plain_at)));
    }
    if (source.packed_at >= 0) DUNLIN_RETURN_IF_ERROR(pack(pool, source, arena + source.packed_at));
  }
  report(order_.size(), "");
  return {};
}

Result<void> Loader::read_plain(const Source& source, float* values) {
  const WeightView& view = source.view;
  const FormatTraits& format = traits(view.format);
  return for_each_piece(view, 0, view.rows, 1, buffers_.front(),
                        [&](int64_t first, int64_t count, const std::byte* bytes) {
                          format.decode(bytes, count * view.columns, values + first * view.columns);
                        });
}

// Each worker packs a contiguous range of stripes, so the memory is first touched by the thread
// that reads it later.
Result<void> Loader::pack(ThreadPool& pool, const Source& source, std::byte* packed) {
  const int64_t stripes = source.layout.stripes();
  const int64_t grain = std::max<int64_t>(1, stripes / (int64_t{4} * pool.threads()));
  pool.parallel_for(stripes, grain, [&](int64_t begin, int64_t end, int worker) {
    const auto index = static_cast<size_t>(worker);
    std::optional<Error>& error = errors_[index];
    if (error) return;
    try {
      const Result<void> done = pack_stripes(source, begin, end, index, packed);
      if (!done.ok()) error = done.error();
    } catch (const std::bad_alloc&) {
      error = out_of_memory();  // nothing may be thrown through the pool
    }
  });
  for (const std::optional<Error>& error : errors_) {
    if (error) return *error;
  }
  return {};
}

Result<void> Loader::pack_stripes(const Source& source, int64_t begin, int64_t end, size_t worker,
                                  std::byte* packed) {
  const WeightView& view = source.view;
  const PackedLayout& layout = source.layout;
  std::vector<std::byte>& scratch = scratch_[worker];
  const auto scratch_bytes = static_cast<size_t>(pack_scratch_bytes(layout) + kCacheLine);
  if (scratch.size() < scratch_bytes) scratch.resize(scratch_bytes);
  const auto start = reinterpret_cast<uintptr_t>(scratch.data());
  std::byte* aligned = scratch.data() + (kCacheLine - start % kCacheLine) % kCacheLine;
  const int64_t first = begin * kStripeRows;
  const int64_t rows = std::min(layout.rows, end * kStripeRows) - first;
  return for_each_piece(view, first, rows, kStripeRows, buffers_[worker],
                        [&](int64_t row, int64_t count, const std::byte* bytes) {
                          for (int64_t i = 0; i < count; i += kStripeRows) {
                            pack_stripe(layout, traits(view.format),
                                        bytes + i * view.bytes_per_row(),
                                        std::min(kStripeRows, count - i), aligned,
                                        packed + (row + i) / kStripeRows * layout.stripe_bytes());
                          }
                        });
}

std::vector<uint64_t> Loader::bytes_by_weight() const {
  std::vector<uint64_t> bytes;
  for (const Source& source : sources_) {
    int64_t each = source.packed_at >= 0 ? source.layout.bytes() : 0;
    if (source.plain_at >= 0) each += source.view.rows * source.view.columns * int64_t{4};
    bytes.push_back(static_cast<uint64_t>(each));
  }
  return bytes;
}

std::vector<HeldWeight> Loader::held(const std::byte* arena) const {
  std::vector<HeldWeight> held;
  for (const Source& source : sources_) {
    HeldWeight weight;
    weight.format = source.view.format;
    if (source.packed_at >= 0) {
      const std::byte* data = arena == nullptr ? nullptr : arena + source.packed_at;
      weight.packed = PackedMatrix{source.layout, data};
    }
    if (source.plain_at >= 0 && arena != nullptr) {
      weight.plain = reinterpret_cast<const float*>(arena + source.plain_at);
    }
    held.push_back(weight);
  }
  return held;
}

}  // namespace

Result<Weights> Weights::load(const Program& program, const std::vector<FusedStep>& steps,
                              const WeightSource& source, const CompileOptions& options,
                              ThreadPool& pool) {
  Loader loader(program, steps, source, options);
  DUNLIN_RETURN_IF_ERROR(loader.resolve());
  Weights weights;
  weights.bytes_ = loader.bytes();
  DUNLIN_ASSIGN_OR_RETURN(weights.arena_, Arena::create(loader.bytes(), "packed weights"));
  DUNLIN_RETURN_IF_ERROR(loader.read(pool, weights.arena_.data()));
  weights.held_ = loader.held(weights.arena_.data());
  return weights;
}

Result<Weights> Weights::lay_out(const Program& program, const std::vector<FusedStep>& steps,
                                 const WeightSource& source, const CompileOptions& options) {
  Loader loader(program, steps, source, options);
  DUNLIN_RETURN_IF_ERROR(loader.resolve());
  Weights weights;
  weights.bytes_ = loader.bytes();
  weights.bytes_by_weight_ = loader.bytes_by_weight();
  weights.loading_bytes_ = loader.loading_bytes();
  weights.held_ = loader.held(nullptr);
  return weights;
}

}  // namespace dunlin::cpu
