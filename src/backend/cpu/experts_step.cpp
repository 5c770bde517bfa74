// A round is as many groups as fit the memory planned for it: all of them in a step of a few rows, an
// expert or several of a long prompt. Within a round every phase is one parallel region over all
// groups, so that few rows of many experts keep all threads busy.
#include "backend/cpu/experts_step.h"

#include <algorithm>
#include <initializer_list>

#include "backend/cpu/arena.h"
#include "backend/cpu/work_sizes.h"
#include "base/check.h"

namespace dunlin::cpu {

namespace {

int64_t whole_tiles(int64_t rows) {
  return round_up(rows, kRowTile);
}

bool same_in_both_classes(const ExpertMatrices& matrices) {
  return matrices.arithmetic[0] == matrices.arithmetic[1];
}

// Largest bytes of prepared rows that `matrices` read in one row class.
int64_t prepared_bytes(std::initializer_list<const ExpertMatrices*> matrices, int64_t rows,
                       int64_t columns) {
  int64_t most = 0;
  for (size_t c = 0; c < 2; ++c) {
    bool needed[kArithmetics] = {};
    for (const ExpertMatrices* each : matrices)
      needed[static_cast<size_t>(each->arithmetic[c])] = true;
    int64_t bytes = 0;
    for (size_t a = 0; a < kArithmetics; ++a) {
      if (needed[a]) bytes += activation_bytes(static_cast<Arithmetic>(a), rows, columns);
    }
    most = std::max(most, bytes);
  }
  return most;
}

// fn(group, begin, end): tasks [begin, end) of all groups of a round, `each` of every group in turn,
// as ranges within a group.
template <typename Function>
void for_groups(int64_t begin, int64_t end, int64_t each, Function fn) {
  while (begin < end) {
    const int64_t group = begin / each;
    const int64_t first = begin % each;
    const int64_t count = std::min(end - begin, each - first);
    fn(static_cast<size_t>(group), first, first + count);
    begin += count;
  }
}

// Stripes of all groups of a round over the threads.
template <typename Function>
void for_stripes(const RunContext& context, int64_t groups, int64_t places, int64_t stripes,
                 int64_t stripe_bytes, Function fn) {
  const int64_t tasks = groups * stripes;
  const int64_t threads = context.pool.threads();
  if (threads == 1 || places * stripes * stripe_bytes < kSerialBytes) {
    fn(int64_t{0}, tasks, 0);
    return;
  }
  const bool many = places >= groups * kManyRows;
  const int64_t whole =
      many ? kLinearStripeBlock : std::max<int64_t>(1, kPieceBytes / stripe_bytes);
  context.pool.parallel_for(
      tasks, std::min(whole, std::max<int64_t>(1, tasks / (int64_t{4} * threads))), fn);
}

}  // namespace

ExpertsStep::ExpertsStep(ExpertsSettings settings)
    : settings_(std::move(settings)),
      one_class_(same_in_both_classes(settings_.gate) && same_in_both_classes(settings_.up) &&
                 same_in_both_classes(settings_.down)),
      groups_(settings_.gate.count, settings_.per_row, settings_.limits.rows, settings_.grouped) {
  plan_scratch();
}

void ExpertsStep::plan_scratch() {
  const int64_t rows = settings_.limits.rows;
  const int64_t choices = rows * settings_.per_row;
  const int64_t width = settings_.gate.first.layout.columns;  // D
  const int64_t inner = settings_.gate.first.layout.rows;     // F
  // The largest group, or a tile for every expert of a small step.
  const int64_t tiles = std::min(settings_.gate.count, choices);
  capacity_ = std::max(whole_tiles(rows), kRowTile * tiles);
  input_bytes_ = prepared_bytes({&settings_.gate, &settings_.up}, capacity_, width);
  middle_bytes_ = round_up(capacity_ * inner * int64_t{sizeof(float)}, kCacheLine);
  hidden_bytes_ = prepared_bytes({&settings_.down}, capacity_, inner);
  output_bytes_ = round_up(choices * width * int64_t{sizeof(float)}, kCacheLine);
  input_bytes_ = round_up(input_bytes_, kCacheLine);
  hidden_bytes_ = round_up(hidden_bytes_, kCacheLine);
  table_bytes_ = round_up(groups_.bytes() + choices * int64_t{sizeof(Activations)}, kCacheLine);
  scratch_bytes_ = input_bytes_ + 2 * middle_bytes_ + hidden_bytes_ + table_bytes_ + output_bytes_;
}

void ExpertsStep::run(const RunContext& context) noexcept {
  scratch_ = context.scratch;
  std::byte* const tables = scratch_ + input_bytes_ + 2 * middle_bytes_ + hidden_bytes_;
  groups_.read(tables, settings_.chosen, context.tables.runs(Symbol::rows), one_class_);
  activations_ = {reinterpret_cast<Activations*>(tables + groups_.bytes()),
                  groups_.groups().size()};
  const auto groups = groups_.groups();
  size_t begin = 0;
  while (begin < groups.size()) {
    Round round{begin, begin, groups[begin].first, 0};
    int64_t used = 0;
    while (round.end < groups.size() && used + whole_tiles(groups[round.end].rows) <= capacity_) {
      used += whole_tiles(groups[round.end].rows);
      round.places += groups[round.end].rows;
      ++round.end;
    }
    DUNLIN_CHECK(round.end > begin, "a group of rows exceeds its memory");
    run_round(round, context);
    begin = round.end;
  }
  add_up(context);
}

// The three matrices of an expert are read for each of its groups. The groups lie in scratch memory,
// which the next step takes.
std::optional<StepWork> ExpertsStep::work(const RunContext& /*context*/) const noexcept {
  double bytes = 0;
  double elements = 0;
  for (const ExpertMatrices* each : {&settings_.gate, &settings_.up, &settings_.down}) {
    const PackedLayout& layout = each->first.layout;
    bytes += static_cast<double>(layout.bytes());
    elements += static_cast<double>(layout.rows) * static_cast<double>(layout.columns);
  }
  StepWork work;
  for (const ExpertGroup& group : groups_.groups()) {
    work.bytes += bytes;
    work.flops += 2 * static_cast<double>(group.rows) * elements;
  }
  return work;
}

void ExpertsStep::run_round(const Round& round, const RunContext& context) noexcept {
  prepare_inputs(round, context);
  run_gated(round, context);
  prepare_hidden(round, context);
  run_down(round, context);
}

void ExpertsStep::place_activations(
    const Round& round, int64_t columns, std::byte* memory, int64_t bytes,
    std::initializer_list<const ExpertMatrices*> matrices) noexcept {
  int64_t used = 0;
  for (size_t g = round.begin; g < round.end; ++g) {
    const ExpertGroup& group = groups_.groups()[g];
    Activations& activations = activations_[g];
    activations = {};
    for (const ExpertMatrices* each : matrices) {
      const Arithmetic arithmetic = each->arithmetic[index(group.row_class)];
      std::byte*& place = activations.of[static_cast<size_t>(arithmetic)];
      if (place != nullptr) continue;
      place = memory + used;
      used += activation_bytes(arithmetic, group.rows, columns);
    }
  }
  DUNLIN_CHECK(used <= bytes, "prepared activations exceed their memory");
}

// The row of a place, into the activations of its group. A stride of 0: the row lies at x, whatever
// its number in the group.
void ExpertsStep::prepare_row(int64_t place, const float* x, int64_t columns) const noexcept {
  const auto number = static_cast<size_t>(groups_.group_at(place));
  const ExpertGroup& group = groups_.groups()[number];
  for (size_t a = 0; a < kArithmetics; ++a) {
    if (activations_[number].of[a] == nullptr) continue;
    PrepareArgs args{};
    args.x = x;
    args.x_stride = 0;
    args.rows = group.rows;
    args.columns = columns;
    args.row_begin = place - group.first;
    args.row_end = args.row_begin + 1;
    args.out = activations_[number].of[a];
    settings_.prepare[a].run(args);
  }
}

void ExpertsStep::prepare_inputs(const Round& round, const RunContext& context) noexcept {
  const int64_t width = settings_.gate.first.layout.columns;
  place_activations(round, width, scratch_, input_bytes_, {&settings_.gate, &settings_.up});
  for_tasks(context, round.places, width, [&](int64_t begin, int64_t end, int /*worker*/) {
    for (int64_t i = begin; i < end; ++i) {
      const int64_t place = round.first + i;
      prepare_row(place, settings_.x + groups_.row_at(place) * width, width);
    }
  });
}

void ExpertsStep::prepare_hidden(const Round& round, const RunContext& context) noexcept {
  const int64_t inner = settings_.gate.first.layout.rows;
  const auto* const gate = reinterpret_cast<const float*>(scratch_ + input_bytes_);
  place_activations(round, inner, scratch_ + input_bytes_ + 2 * middle_bytes_, hidden_bytes_,
                    {&settings_.down});
  for_tasks(context, round.places, inner, [&](int64_t begin, int64_t end, int /*worker*/) {
    for (int64_t i = begin; i < end; ++i) {
      const int64_t place = round.first + i;
      prepare_row(place, gate + i * inner, inner);
      if (settings_.hidden == nullptr) continue;
      std::copy_n(gate + i * inner, inner, settings_.hidden + groups_.choice_at(place) * inner);
    }
  });
}

// Stripes [begin, end) of a group's expert, for all its rows.
void ExpertsStep::multiply(const ExpertMatrices& matrices, const ExpertGroup& group, int64_t begin,
                           int64_t end, float* y, std::byte* workspace) const noexcept {
  const size_t row_class = index(group.row_class);
  const int64_t width = matrices.first.layout.rows;
  const auto number = static_cast<size_t>(groups_.group_at(group.first));
  LinearArgs args{};
  args.weight = matrices.matrix(group.expert);
  args.stripe_begin = begin;
  args.stripe_end = end;
  args.activations = activations_[number].of[static_cast<size_t>(matrices.arithmetic[row_class])];
  args.rows = group.rows;
  args.row_begin = 0;
  args.row_end = group.rows;
  args.y = y;
  args.y_stride = width;
  args.bias = matrices.bias == nullptr ? nullptr : matrices.bias + group.expert * width;
  args.workspace = workspace;
  args.prefetch_bytes = settings_.prefetch_bytes;
  matrices.kernel[row_class].run(args);
}

void ExpertsStep::run_gated(const Round& round, const RunContext& context) const noexcept {
  const PackedLayout& layout = settings_.gate.first.layout;
  const int64_t inner = layout.rows;
  auto* const gates = reinterpret_cast<float*>(scratch_ + input_bytes_);
  auto* const ups = reinterpret_cast<float*>(scratch_ + input_bytes_ + middle_bytes_);
  const auto run = [&](int64_t first, int64_t last, int worker) {
    for_groups(first, last, layout.stripes(), [&](size_t number, int64_t begin, int64_t end) {
      const ExpertGroup& group = groups_.groups()[round.begin + number];
      float* const gate = gates + (group.first - round.first) * inner;
      float* const up = ups + (group.first - round.first) * inner;
      multiply(settings_.gate, group, begin, end, gate, context.workspace(worker));
      multiply(settings_.up, group, begin, end, up, context.workspace(worker));
      const int64_t column = begin * kStripeRows;
      const int64_t columns = std::min(inner, end * kStripeRows) - column;
      for (int64_t row = 0; row < group.rows; ++row) {
        const int64_t at = row * inner + column;
        settings_.gated.run(gate + at, up + at, columns, settings_.alpha, settings_.limit,
                            gate + at);
      }
    });
  };
  const auto groups = static_cast<int64_t>(round.end - round.begin);
  const int64_t bytes = layout.stripe_bytes() + settings_.up.first.layout.stripe_bytes();
  for_stripes(context, groups, round.places, layout.stripes(), bytes, run);
}

void ExpertsStep::run_down(const Round& round, const RunContext& context) const noexcept {
  const PackedLayout& layout = settings_.down.first.layout;
  auto* const outputs = reinterpret_cast<float*>(scratch_ + scratch_bytes_ - output_bytes_);
  const auto run = [&](int64_t first, int64_t last, int worker) {
    for_groups(first, last, layout.stripes(), [&](size_t number, int64_t begin, int64_t end) {
      const ExpertGroup& group = groups_.groups()[round.begin + number];
      multiply(settings_.down, group, begin, end, outputs + group.first * layout.rows,
               context.workspace(worker));
    });
  };
  const auto groups = static_cast<int64_t>(round.end - round.begin);
  for_stripes(context, groups, round.places, layout.stripes(), layout.stripe_bytes(), run);
}

void ExpertsStep::add_up(const RunContext& context) const noexcept {
  const int64_t width = settings_.down.first.layout.rows;
  const auto* const outputs =
      reinterpret_cast<const float*>(scratch_ + scratch_bytes_ - output_bytes_);
  const auto add_rows = [&](int64_t begin, int64_t end, int /*worker*/) {
    for (int64_t row = begin; row < end; ++row) {
      float* const y = settings_.y + row * width;
      std::fill_n(y, width, 0.0f);
      for (int64_t j = 0; j < settings_.per_row; ++j) {
        settings_.add_scaled.run(outputs + groups_.place_of(row, j) * width,
                                 settings_.weights[row * settings_.per_row + j], width, y);
      }
    }
  };
  for_tasks(context, context.sizes().rows, settings_.per_row * width, add_rows);
}

std::vector<std::pair<std::string, std::string>> ExpertsStep::kernels() const {
  std::vector<std::pair<std::string, std::string>> names;
  const std::pair<const char*, const ExpertMatrices*> matrices[] = {
      {"gate", &settings_.gate}, {"up", &settings_.up}, {"down", &settings_.down}};
  for (const auto& [name, each] : matrices) {
    const std::string form = packed_form_name(each->first.layout.form);
    const std::string operation = std::string("experts ") + name + " " + form;
    names.emplace_back(operation + " prompt", each->kernel[index(RowClass::prompt)].name);
    names.emplace_back(operation + " generated", each->kernel[index(RowClass::generated)].name);
  }
  names.emplace_back("experts gated", settings_.gated.name);
  names.emplace_back("experts sum", settings_.add_scaled.name);
  return names;
}

}  // namespace dunlin::cpu
