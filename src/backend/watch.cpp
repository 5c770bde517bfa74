// The wrapper takes the watched outputs out of every step's taps.
#include "backend/watch.h"

#include <fmt/format.h>

#include "program/location.h"

namespace dunlin {

class Watch::WatchedExecutable final : public Executable {
 public:
  WatchedExecutable(std::unique_ptr<Executable> inner, std::shared_ptr<Watch> watch)
      : inner_(std::move(inner)), watch_(std::move(watch)) {}

  Result<std::unique_ptr<KvState>> make_kv_state(
      const std::vector<int64_t>& pages_per_group) override {
    return inner_->make_kv_state(pages_per_group);
  }
  int64_t pages_per_slot(int32_t group) const override { return inner_->pages_per_slot(group); }
  void run(const StepPlan& plan, KvState& state, StepOutput& output) noexcept override {
    inner_->run(plan, state, output);
    if (!output.failure) watch_->look(plan, output);
  }
  std::vector<std::pair<std::string, std::string>> kernels() const override {
    return inner_->kernels();
  }
  const std::string& isa() const override { return inner_->isa(); }
  int threads() const override { return inner_->threads(); }
  uint64_t weights_bytes() const override { return inner_->weights_bytes(); }
  uint64_t workspace_bytes() const override { return inner_->workspace_bytes(); }
  std::optional<uint64_t> attention_bytes() const override { return inner_->attention_bytes(); }
  DevicePrograms programs() const override { return inner_->programs(); }
  std::string memory_tuning() const override { return inner_->memory_tuning(); }
  std::optional<OffloadStatistics> offload() const override { return inner_->offload(); }
  Result<void> record(Profile* profile) override { return inner_->record(profile); }

 private:
  std::unique_ptr<Executable> inner_;
  std::shared_ptr<Watch> watch_;
};

std::shared_ptr<Watch> Watch::create(WatchOptions options) {
  return std::shared_ptr<Watch>(new Watch(std::move(options)));
}

Result<void> Watch::attach(Program& program) {
  DUNLIN_ASSIGN_OR_RETURN(values_, watch_nodes(program, options_.patterns));
  return {};
}

std::unique_ptr<Executable> Watch::wrap(std::unique_ptr<Executable> executable) {
  return std::make_unique<WatchedExecutable>(std::move(executable), shared_from_this());
}

void Watch::look(const StepPlan& plan, StepOutput& output) {
  ++steps_;
  rows_.clear();
  // attach() put them behind all other outputs.
  DUNLIN_CHECK(output.taps.size() >= values_.size(), "watched nodes that are no outputs");
  const size_t first = output.taps.size() - values_.size();
  for (size_t i = 0; i < values_.size() && !hit_; ++i) {
    const WatchedValue& value = values_[i];
    const View& view = output.taps[first + i].view;
    if (options_.on_value) options_.on_value(value, view);
    if (!options_.until && !options_.on_step) continue;
    rows_.push_back({&value, view.shape, statistics_of(view)});
    const ValueStatistics& statistics = rows_.back().statistics;
    if (!options_.until || !options_.until->holds(statistics)) continue;
    hit_ =
        runtime_error(fmt::format("{} ({}) met {} in step {}: {}; recorded at {}", value.name,
                                  op_name(value.op), options_.until->text(), steps_,
                                  options_.until->reading(statistics), location_text(value.where)));
  }
  if (!rows_.empty() && options_.on_step) options_.on_step(*this, {steps_, plan.rows(), rows_});
  output.taps.resize(first);
}

}  // namespace dunlin
