#include "backend/cpu/weights.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstddef>
#include <span>
#include <string>
#include <utility>

#include "base/fallible_loop.h"

namespace dunlin::cpu {

namespace {

// Formats and layouts; without an arena the packed matrices have no data.
std::vector<HeldWeight> held_weights(const WeightLayout& layout, const std::byte* arena) {
  std::vector<HeldWeight> held;
  for (const LaidOutWeight& each : layout.weights()) {
    HeldWeight weight;
    weight.arithmetic = each.arithmetic;
    if (each.packed_at >= 0) {
      const std::byte* data = arena == nullptr ? nullptr : arena + each.packed_at;
      weight.packed = PackedMatrix{each.layout, data};
      weight.matrices = each.matrices;
    }
    if (each.plain_at >= 0) {
      weight.plain_bytes = each.plain_bytes();
      if (arena != nullptr) weight.plain = reinterpret_cast<const float*>(arena + each.plain_at);
    }
    held.push_back(weight);
  }
  return held;
}

Result<const std::byte*> find(const PreparedWeights& prepared, const PreparedPart& part,
                              const CompileOptions& options) {
  const std::byte* const data = prepared.find(part);
  if (data != nullptr) return data;
  const char* const precision = precision_name(options.precision);
  return prepared.unsuitable(
      fmt::format("it was not prepared for --precision {} (there is no {})", precision, part.name),
      options.precision == Precision::automatic ? "" : fmt::format(" --precision {}", precision));
}

Result<void> check_packing(const PreparedWeights& prepared) {
  if (prepared.packing() == kPacking) return {};
  return prepared.unsuitable(fmt::format("its weights are packed as \"{}\", and this needs \"{}\"",
                                         prepared.packing(), kPacking));
}

// Parts of the arena begin at cache lines, so the last piece may be read with its padding.
Result<void> copy(const PreparedWeights& prepared, const PreparedPart& part, std::byte* into,
                  ThreadPool& pool) {
  const auto bytes = static_cast<uint64_t>(round_up(static_cast<int64_t>(part.bytes), kCacheLine));
  const uint64_t piece = prepared.piece_bytes();
  const auto pieces = static_cast<int64_t>((bytes + piece - 1) / piece);
  return try_parallel_for(pool, pieces, 1, [&](int64_t begin, int64_t end, int) -> Result<void> {
    for (auto i = static_cast<uint64_t>(begin); i < static_cast<uint64_t>(end); ++i) {
      const uint64_t at = i * piece;
      DUNLIN_RETURN_IF_ERROR(prepared.read(part, i, {into + at, std::min(piece, bytes - at)}));
    }
    return {};
  });
}

// All parts, each piece of which goes to the store at once. Ends when the store gives up.
Result<void> pack_into(PackedWeightStore& store, WeightPacker& packer,
                       const CompileOptions& options) {
  const std::vector<PreparedPart>& parts = packer.parts();
  const auto report = [&](size_t done, const std::string& what) {
    if (!options.progress) return;
    const auto all = static_cast<double>(std::max<size_t>(1, parts.size()));
    options.progress(static_cast<double>(done) / all, what);
  };
  const auto give = [&](size_t part, std::span<const std::byte> bytes) -> Result<void> {
    if (store.append(parts[part], bytes)) return {};
    return store.not_kept();
  };
  for (size_t i = 0; i < parts.size(); ++i) {
    const auto other = packer.companion(i);
    if (other && *other < i) continue;  // it came with that one
    report(i, parts[i].name);
    DUNLIN_RETURN_IF_ERROR(packer.pack(i, give));
  }
  report(parts.size(), "keeping the packed weights");
  return {};
}

}  // namespace

Result<Weights> Weights::load(const Program& program, const std::vector<FusedStep>& steps,
                              const WeightSource& source, const CompileOptions& options,
                              ThreadPool& pool, Pages pages) {
  DUNLIN_ASSIGN_OR_RETURN(const WeightLayout layout,
                          WeightLayout::create(program, steps, source, options.precision));
  Weights weights;
  weights.pages_ = pages;
  weights.bytes_ = layout.bytes();
  if (options.prepared != nullptr) {
    DUNLIN_RETURN_IF_ERROR(check_packing(*options.prepared));
    DUNLIN_RETURN_IF_ERROR(
        weights.take(options.prepared, options.load_mode == LoadMode::mmap, layout, options, pool));
    return weights;
  }
  if (auto stored = find_stored(layout, options, pool, pages)) return std::move(*stored);
  if (options.offload.on) return pack_and_map(layout, options, pool);
  DUNLIN_RETURN_IF_ERROR(weights.read(program, layout, options, pool));
  // Those that are to be mapped can be now.
  if (weights.stored_ && options.load_mode == LoadMode::mmap) {
    if (auto stored = find_stored(layout, options, pool, pages)) return std::move(*stored);
  }
  return weights;
}

std::unique_ptr<Weights> Weights::find_stored(const WeightLayout& layout,
                                              const CompileOptions& options, ThreadPool& pool,
                                              Pages pages) {
  if (options.store == nullptr) return nullptr;
  auto found = options.store->find(kPacking, layout.parts());
  if (found == nullptr) return nullptr;
  const bool large = layout.bytes() >= kMappedBytes;
  const bool mapped =
      options.load_mode == LoadMode::mmap || (options.load_mode == LoadMode::automatic && large);
  auto weights = std::make_unique<Weights>();
  weights->pages_ = pages;
  weights->bytes_ = layout.bytes();
  const auto taken = weights->take(std::move(found), mapped, layout, options, pool);
  if (taken.ok()) return weights;
  options.store->refuse(taken.error());
  return nullptr;
}

Result<Weights> Weights::pack_and_map(const WeightLayout& layout, const CompileOptions& options,
                                      ThreadPool& pool) {
  if (options.store == nullptr)
    return usage_error("--offload needs prepared weights, or a store that keeps what is packed");
  PackedWeightStore& store = *options.store;
  if (!store.begin()) return store.not_kept();
  DUNLIN_RETURN_IF_ERROR(pack_into(store, *make_packer(layout, pool), options));
  if (!store.commit()) return store.not_kept();
  if (options.progress) options.progress(1, "");
  if (auto stored = find_stored(layout, options, pool, Pages::huge)) return std::move(*stored);
  return store.not_kept();
}

Result<std::byte*> Weights::reserve(const WeightLayout& layout) {
  DUNLIN_ASSIGN_OR_RETURN(Arena arena, Arena::create(layout.bytes(), "packed weights", pages_));
  std::byte* const data = arena.data();
  arena_ = std::make_shared<Arena>(std::move(arena));
  return data;
}

// What is to be mapped must be whole first; else the file may wait until the model answers.
Result<void> Weights::read(const Program& program, const WeightLayout& layout,
                           const CompileOptions& options, ThreadPool& pool) {
  DUNLIN_ASSIGN_OR_RETURN(std::byte* const arena, reserve(layout));
  PackedWeightStore* const store = options.store.get();
  const bool mapped = options.load_mode == LoadMode::mmap;
  const bool kept = store != nullptr && mapped && store->begin();
  WeightReader reader(pool);
  const auto report = [&](size_t done, const std::string& name) {
    if (!options.progress) return;
    const auto all = static_cast<double>(std::max<size_t>(1, layout.order().size()));
    options.progress(static_cast<double>(done) / all, name);
  };
  for (size_t i = 0; i < layout.order().size(); ++i) {
    const WeightId id = layout.order()[i];
    const LaidOutWeight& weight = layout.of(id);
    report(i, program.weights[static_cast<size_t>(id)].name);
    if (weight.plain_at >= 0) {
      auto* const values = reinterpret_cast<float*>(arena + weight.plain_at);
      DUNLIN_RETURN_IF_ERROR(reader.read_plain(weight, 0, weight.view.rows, values));
    }
    if (weight.packed_at >= 0) DUNLIN_RETURN_IF_ERROR(pack(layout, id, reader));
    // Now, so that the system writes to the disk while the next ones are packed.
    if (kept) keep(weight, *store);
  }
  if (kept) {
    report(layout.order().size(), "keeping the packed weights");
    stored_ = store->commit();
  }
  report(layout.order().size(), "");
  held_ = held_weights(layout, arena);
  if (store != nullptr && !mapped) keep_later(layout, *store);
  return {};
}

std::vector<PackedPart> Weights::parts_of(const LaidOutWeight& weight) const {
  std::vector<PackedPart> parts;
  const auto add = [&](PreparedPart part, int64_t at) {
    PackedPart packed;
    packed.part = std::move(part);
    packed.data = arena_->data() + at;
    parts.push_back(std::move(packed));
  };
  if (weight.plain_at >= 0) add(weight.plain_part(), weight.plain_at);
  if (weight.packed_at >= 0) add(weight.packed_part(), weight.packed_at);
  return parts;
}

void Weights::keep(const LaidOutWeight& weight, PackedWeightStore& store) const {
  for (const PackedPart& each : parts_of(weight))
    store.append(each.part, {each.data, static_cast<size_t>(each.part.bytes)});
}

void Weights::keep_later(const WeightLayout& layout, PackedWeightStore& store) const {
  std::vector<PackedPart> parts;
  for (const WeightId id : layout.order()) {
    for (PackedPart& each : parts_of(layout.of(id))) parts.push_back(std::move(each));
  }
  store.keep_later(std::move(parts), arena_);
}

// With its companion, where that is not packed yet.
Result<void> Weights::pack(const WeightLayout& layout, WeightId id, WeightReader& reader) {
  const LaidOutWeight& weight = layout.of(id);
  if (!weight.companion)
    return reader.pack(weight, 0, weight.stripes(), arena_->data() + weight.packed_at);
  const std::vector<WeightId>& order = layout.order();
  if (std::ranges::find(order, *weight.companion) < std::ranges::find(order, id)) return {};
  const LaidOutWeight& companion = layout.of(*weight.companion);
  const LaidOutWeight& even = weight.both ? weight : companion;
  const LaidOutWeight& odd = weight.both ? companion : weight;
  return reader.pack(even, 0, even.stripes(), arena_->data() + even.packed_at,
                     arena_->data() + odd.packed_at);
}

// Copied weights lie in the arena as read() leaves them; mapped ones where the files are mapped.
Result<void> Weights::take(std::shared_ptr<const PreparedWeights> prepared, bool mapped,
                           const WeightLayout& layout, const CompileOptions& options,
                           ThreadPool& pool) {
  if (!options.offload.on) prepared->read_ahead();
  std::byte* arena = nullptr;
  if (!mapped) {
    DUNLIN_ASSIGN_OR_RETURN(arena, reserve(layout));
  }
  const auto place = [&](const PreparedPart& part, int64_t at) -> Result<const std::byte*> {
    DUNLIN_ASSIGN_OR_RETURN(const std::byte* const found, find(*prepared, part, options));
    if (mapped) return found;
    std::byte* const into = arena + at;
    DUNLIN_RETURN_IF_ERROR(copy(*prepared, part, into, pool));
    return into;
  };
  held_ = held_weights(layout, nullptr);
  for (size_t i = 0; i < layout.order().size(); ++i) {
    const WeightId id = layout.order()[i];
    const LaidOutWeight& weight = layout.of(id);
    HeldWeight& held = held_[static_cast<size_t>(id)];
    if (options.progress) {
      const auto all = static_cast<double>(layout.order().size());
      options.progress(static_cast<double>(i) / all, "packed weights");
    }
    if (weight.packed_at >= 0) {
      DUNLIN_ASSIGN_OR_RETURN(held.packed->data, place(weight.packed_part(), weight.packed_at));
    }
    if (weight.plain_at >= 0) {
      DUNLIN_ASSIGN_OR_RETURN(const std::byte* const data,
                              place(weight.plain_part(), weight.plain_at));
      held.plain = reinterpret_cast<const float*>(data);
    }
  }
  if (options.progress) options.progress(1, "");
  if (mapped) prepared_ = std::move(prepared);
  return {};
}

Result<Weights> Weights::lay_out(const Program& program, const std::vector<FusedStep>& steps,
                                 const WeightSource& source, const CompileOptions& options,
                                 const std::byte* arena) {
  DUNLIN_ASSIGN_OR_RETURN(const WeightLayout layout,
                          WeightLayout::create(program, steps, source, options.precision));
  Weights weights;
  weights.bytes_ = layout.bytes();
  for (const LaidOutWeight& each : layout.weights()) {
    int64_t bytes = each.packed_at >= 0 ? each.packed_bytes() : 0;
    if (each.plain_at >= 0) bytes += each.plain_bytes();
    weights.bytes_by_weight_.push_back(static_cast<uint64_t>(bytes));
  }
  weights.loading_bytes_ = options.prepared == nullptr ? layout.loading_bytes() : 0;
  weights.held_ = held_weights(layout, arena);
  return weights;
}

}  // namespace dunlin::cpu
