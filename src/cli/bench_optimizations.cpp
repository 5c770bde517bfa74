#include "cli/bench_optimizations.h"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <random>

#include "backend/cpu/optimizations.h"
#include "cli/bench_model.h"
#include "engine/optimizations.h"
#include "program/op.h"

namespace dunlin {
namespace {

using Clock = std::chrono::steady_clock;

int64_t nanoseconds(Clock::duration duration) {
  return std::max<int64_t>(std::chrono::nanoseconds(duration).count(), 1);
}

bool has_grouped_queries(const Program& program) {
  return std::ranges::any_of(program.nodes, [&program](const Node& node) {
    if (node.op != Op::attention) return false;
    const auto heads = [&](size_t operand) {
      return program.type(node.operands[operand]).dims[1].size;
    };
    return heads(0) > heads(1);
  });
}

bool is_on(const std::vector<std::string>& on, const std::string& name) {
  return std::ranges::find(on, name) != on.end();
}

class Planner {
 public:
  explicit Planner(const Ladder& ladder) : ladder_(ladder) {
    plan_.sets.push_back({});
    plan_.sets.push_back({.disabled = without({})});
  }

  LadderPlan plan(std::span<const std::string> weights) {
    add_row("baseline", "none", LadderPlan::kBaseline, LadderPlan::kBaseline,
            LadderPlan::kBaseline);
    add_alone();
    add_cumulative();
    add_row("all", "all", LadderPlan::kAll, LadderPlan::kBaseline, LadderPlan::kAll);
    add_leave_one_out();
    add_weights(weights);
    return std::move(plan_);
  }

 private:
  // What is disabled where these are on.
  std::vector<std::string> without(const std::vector<std::string>& on) const {
    std::vector<std::string> disabled;
    for (const LadderStep& step : ladder_.steps) {
      if (!is_on(on, step.name)) disabled.push_back(step.name);
    }
    return disabled;
  }

  size_t set_of(LadderSet set) {
    const auto it = std::ranges::find(plan_.sets, set);
    if (it != plan_.sets.end()) return static_cast<size_t>(it - plan_.sets.begin());
    plan_.sets.push_back(std::move(set));
    return plan_.sets.size() - 1;
  }

  void add_row(const char* group, std::string name, size_t set, size_t without_set,
               size_t with_set) {
    plan_.rows.push_back({.group = group,
                          .name = std::move(name),
                          .set = set,
                          .without = without_set,
                          .with = with_set});
  }

  void add_alone() {
    for (const LadderStep& step : ladder_.steps) {
      if (!step.rests_on.empty()) {
        plan_.rows.push_back(
            {.group = "alone", .name = "+ " + step.name, .rests_on = step.rests_on});
        continue;
      }
      const size_t set = set_of({.disabled = without({step.name})});
      add_row("alone", "+ " + step.name, set, LadderPlan::kBaseline, set);
    }
  }

  void add_cumulative() {
    std::vector<std::string> on;
    size_t before = LadderPlan::kBaseline;
    for (const LadderStep& step : ladder_.steps) {
      on.push_back(step.name);
      const size_t set = set_of({.disabled = without(on)});
      add_row("cumulative", "+ " + step.name, set, before, set);
      before = set;
    }
  }

  void add_leave_one_out() {
    for (const LadderStep& step : ladder_.steps) {
      const size_t set = set_of({.disabled = {step.name}});
      add_row("leave-one-out", "all - " + step.name, set, set, LadderPlan::kAll);
    }
  }

  // Beside float32.
  void add_weights(std::span<const std::string> weights) {
    for (const std::string& type : weights) {
      const size_t without_set = set_of({.disabled = {kPrecision}});
      const size_t set = set_of({.weights = type});
      add_row("weights", "all, " + type, set, without_set, set);
    }
  }

  const Ladder& ladder_;
  LadderPlan plan_;
};

int32_t best_token(const StepOutput& output) {
  const auto row = output.logits.back().row;
  return static_cast<int32_t>(std::ranges::max_element(row) - row.begin());
}

// For messages.
std::string set_name(const std::vector<std::string>& disabled) {
  return disabled.empty() ? std::string("everything on")
                          : fmt::format("--disable {}", fmt::join(disabled, ","));
}

double mean_ms(const std::vector<LadderSample>& samples, int64_t LadderSample::* field) {
  std::vector<double> values;
  for (const LadderSample& sample : samples)
    values.push_back(static_cast<double>(sample.*field) / 1e6);
  return mean(values);
}

}  // namespace

Ladder ladder_of(const Program& program) {
  Ladder ladder;
  ladder.steps.push_back({kCompiled});
  if (has_grouped_queries(program)) {
    ladder.steps.push_back({cpu::kGqa, kCompiled});
  } else {
    ladder.left_out.push_back({cpu::kGqa, "every query head has keys and values of its own"});
  }
  if (program.has(Op::experts)) {
    ladder.steps.push_back({cpu::kMoeGrouping, kCompiled});
  } else {
    ladder.left_out.push_back({cpu::kMoeGrouping, "the model has no experts"});
  }
  ladder.steps.push_back({kKvCache});
  ladder.steps.push_back({kPrecision});
  return ladder;
}

bool LadderSet::in_float32() const {
  return is_on(disabled, kPrecision);
}

LadderPlan plan_ladder(const Ladder& ladder, std::span<const std::string> weights) {
  return Planner(ladder).plan(weights);
}

std::vector<double> LadderResult::milliseconds() const {
  std::vector<double> values;
  for (const LadderSample& sample : samples)
    values.push_back(static_cast<double>(sample.prompt_ns + sample.generate_ns) / 1e6);
  return values;
}

double LadderResult::mean_prompt_ms() const {
  return mean_ms(samples, &LadderSample::prompt_ns);
}

double LadderResult::mean_generate_ms() const {
  return mean_ms(samples, &LadderSample::generate_ns);
}

Result<std::unique_ptr<LadderModel>> LadderModel::load(const std::string& path,
                                                       ModelOptions options, const LadderSet& set) {
  options.disabled = set.disabled;
  options.quantize = set.weights;
  DUNLIN_ASSIGN_OR_RETURN(auto model, load_model(path, options));
  DUNLIN_ASSIGN_OR_RETURN(SequenceRunner runner, SequenceRunner::create(*model));
  return std::unique_ptr<LadderModel>(new LadderModel(std::move(model), std::move(runner)));
}

Result<void> LadderModel::run(std::span<const int32_t> prompt, int64_t generate, bool timed) {
  DUNLIN_RETURN_IF_ERROR(runner_.reset());
  std::vector<int32_t> ids;
  ids.reserve(static_cast<size_t>(generate) + 1);
  const auto start = Clock::now();
  DUNLIN_RETURN_IF_ERROR(run_prompt(prompt, ids));
  const auto first = Clock::now();
  DUNLIN_RETURN_IF_ERROR(run_generate(generate, ids));
  const auto end = Clock::now();
  if (!timed) return {};
  if (!ids_.empty() && ids != ids_) {
    return Error{ErrorKind::verification,
                 fmt::format("two repetitions with {} computed different tokens",
                             set_name(model_->options.disabled))};
  }
  ids_ = std::move(ids);
  samples_.push_back({nanoseconds(first - start), nanoseconds(end - first)});
  return {};
}

Result<void> LadderModel::run_prompt(std::span<const int32_t> prompt, std::vector<int32_t>& ids) {
  const StepOutput* output = nullptr;
  while (!prompt.empty()) {
    const size_t rows = std::min(prompt.size(), static_cast<size_t>(model_->limits.rows));
    const LogitRows logits = rows == prompt.size() ? LogitRows::last : LogitRows::none;
    DUNLIN_ASSIGN_OR_RETURN(output, runner_.run(prompt.first(rows), RowClass::prompt, logits));
    prompt = prompt.subspan(rows);
  }
  ids.push_back(best_token(*output));
  return {};
}

Result<void> LadderModel::run_generate(int64_t tokens, std::vector<int32_t>& ids) {
  for (int64_t i = 0; i < tokens; ++i) {
    const int32_t token = ids.back();
    DUNLIN_ASSIGN_OR_RETURN(
        const StepOutput* const output,
        runner_.run(std::span(&token, 1), RowClass::generated, LogitRows::last));
    ids.push_back(best_token(*output));
  }
  return {};
}

LadderResult LadderModel::result() const {
  const Executable& executable = *model_->executable;
  return {.samples = samples_,
          .ids = ids_,
          .backend = model_->options.backend,
          .isa = executable.isa(),
          .precision = precision_name(model_->options.precision),
          .threads = executable.threads(),
          .weights_bytes = executable.weights_bytes(),
          .kv_bytes = runner_.kv_bytes(),
          .attention_scratch_bytes = executable.attention_bytes().value_or(0)};
}

std::vector<int32_t> ladder_prompt(int64_t tokens, int64_t vocabulary) {
  std::mt19937 random(1);
  std::vector<int32_t> ids;
  for (int64_t i = 0; i < tokens; ++i)
    ids.push_back(static_cast<int32_t>(random() % static_cast<uint64_t>(vocabulary)));
  return ids;
}

Result<void> check_same_tokens(const LadderPlan& plan, std::span<const LadderResult> results) {
  for (size_t i = 0; i < plan.sets.size(); ++i) {
    const LadderSet& set = plan.sets[i];
    const auto alike = std::ranges::find_if(plan.sets, [&set](const LadderSet& other) {
      return other.weights == set.weights && other.in_float32() == set.in_float32();
    });
    const auto& wanted = results[static_cast<size_t>(alike - plan.sets.begin())].ids;
    const auto& ids = results[i].ids;
    const auto differ = std::ranges::mismatch(ids, wanted);
    if (differ.in1 == ids.end() && differ.in2 == wanted.end()) continue;
    return Error{
        ErrorKind::verification,
        fmt::format("token {} of the answer with {} is another than with {}",
                    differ.in1 - ids.begin(), set_name(set.disabled), set_name(alike->disabled))};
  }
  return {};
}

}  // namespace dunlin
