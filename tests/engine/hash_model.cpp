#include "hash_model.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <limits>

namespace dunlin {
namespace {

constexpr uint64_t kPoisonHash = 1;

// The finaliser of MurmurHash3.
uint64_t mix(uint64_t value) {
  value = (value ^ (value >> 33)) * 0xff51afd7ed558ccdu;
  value = (value ^ (value >> 33)) * 0xc4ceb9fe1a85ec53u;
  return value ^ (value >> 33);
}

struct Slot {
  int32_t position = -1;
  uint64_t hash = 0;
};

class HashState final : public KvState {
 public:
  explicit HashState(const std::vector<int64_t>& pages) {
    for (const int64_t count : pages) slots_.emplace_back(static_cast<size_t>(count * kPageTokens));
  }
  int32_t groups() const override { return static_cast<int32_t>(slots_.size()); }
  int64_t pages(int32_t group) const override {
    return std::ssize(slots_[static_cast<size_t>(group)]) / kPageTokens;
  }
  uint64_t bytes() const override { return 0; }

  Slot& at(size_t group, int32_t page, int64_t position) {
    return slots_[group].at(static_cast<size_t>(page * kPageTokens + position % kPageTokens));
  }
  void move(const PageMove& move) {
    for (int64_t i = 0; i < kPageTokens; ++i) {
      const auto group = static_cast<size_t>(move.group);
      at(group, move.to, i) = at(group, move.from, i);
    }
  }

 private:
  std::vector<std::vector<Slot>> slots_;  // [group][page * 16]
};

class HashExecutable final : public Executable {
 public:
  HashExecutable(const Program& program, const StepLimits& limits)
      : program_(program), limits_(limits) {}

  Result<std::unique_ptr<KvState>> make_kv_state(const std::vector<int64_t>& pages) override {
    return std::unique_ptr<KvState>(std::make_unique<HashState>(pages));
  }

  void run(const StepPlan& plan, KvState& kv, StepOutput& output) noexcept override {
    const auto valid = validate(plan, program_, limits_, kv);
    EXPECT_TRUE(valid.ok()) << valid.error().message;
    auto& state = dynamic_cast<HashState&>(kv);
    for (const PageMove& move : plan.moves) state.move(move);
    std::vector<uint64_t> rows;
    int64_t sequence = 0;
    for (const Segment& segment : plan.segments) {
      (segment.row_class == RowClass::prompt ? counts.prompt : counts.generated) +=
          int64_t{segment.sequences} * segment.rows_each;
      for (int32_t s = 0; s < segment.sequences; ++s, ++sequence) {
        for (int32_t i = 0; i < segment.rows_each; ++i) {
          rows.push_back(run_row(plan, rows.size(), sequence, segment.row_class, state));
        }
      }
    }
    fill(plan, rows, output);
  }

  std::vector<std::pair<std::string, std::string>> kernels() const override { return {}; }
  const std::string& isa() const override { return isa_; }
  int threads() const override { return 1; }
  uint64_t weights_bytes() const override { return 0; }
  uint64_t workspace_bytes() const override { return 0; }

  HashModelCounts counts;

 private:
  // Sees the positions before it, then writes what they and its token make.
  uint64_t run_row(const StepPlan& plan, size_t row, int64_t sequence, RowClass row_class,
                   HashState& state) {
    const int32_t position = plan.positions[row];
    const auto token = static_cast<uint64_t>(plan.tokens[row]);
    uint64_t hash = mix(token * 2 + static_cast<uint64_t>(row_class) + 7);
    bool poisoned = plan.tokens[row] == kPoison;
    for (size_t group = 0; group < program_.kv_groups.size(); ++group) {
      const auto pages = plan.tables[group].of(sequence);
      const int64_t window = program_.kv_groups[group].window;
      const int64_t first = window == 0 ? 0 : std::max<int64_t>(0, position - window + 1);
      for (int64_t seen = first; seen < position; ++seen) {
        const int32_t page = pages[static_cast<size_t>(seen / kPageTokens)];
        EXPECT_GE(page, 0);
        const Slot& slot = state.at(group, page, seen);
        EXPECT_EQ(slot.position, seen);
        poisoned |= slot.hash == kPoisonHash;
        hash = mix(hash + slot.hash);
      }
    }
    if (poisoned) hash = kPoisonHash;
    for (size_t group = 0; group < program_.kv_groups.size(); ++group) {
      const auto pages = plan.tables[group].of(sequence);
      const int32_t page = pages[static_cast<size_t>(position / kPageTokens)];
      state.at(group, page, position) = {position, hash};
    }
    return hash;
  }

  void fill(const StepPlan& plan, const std::vector<uint64_t>& rows, StepOutput& output) {
    logits_.resize(plan.logit_rows.size() * kHashVocabulary);
    output.logits.clear();
    for (size_t r = 0; r < plan.logit_rows.size(); ++r) {
      const uint64_t hash = rows[static_cast<size_t>(plan.logit_rows[r])];
      const std::span row(logits_.data() + r * kHashVocabulary, size_t{kHashVocabulary});
      for (size_t id = 0; id < row.size(); ++id)
        row[id] = static_cast<float>(mix(hash + id) >> 40) * 0x1p-21f;  // in [0, 8)
      row[kPoison] = -std::numeric_limits<float>::infinity();
      output.logits.push_back({.finite = hash != kPoisonHash, .row = row});
    }
  }

  const Program& program_;
  StepLimits limits_;
  std::string isa_ = "hash";
  std::vector<float> logits_;
};

}  // namespace

std::unique_ptr<Model> make_hash_model(const HashModelOptions& options) {
  auto model = std::make_unique<Model>();
  model->options = {.precision = options.precision, .kv_tokens = options.kv_tokens};
  model->limits = options.limits;
  model->vocabulary = kHashVocabulary;
  for (const int64_t window : options.windows)
    model->program.kv_groups.push_back(
        {.window = window, .kv_heads = 1, .head_dim = 1, .layers = 1});
  model->executable = std::make_unique<HashExecutable>(model->program, model->limits);
  return model;
}

HashModelCounts hash_model_counts(const Model& model) {
  return dynamic_cast<const HashExecutable&>(*model.executable).counts;
}

}  // namespace dunlin
