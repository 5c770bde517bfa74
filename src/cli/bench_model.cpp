#include "cli/bench_model.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <chrono>
#include <cmath>
#include <map>
#include <numeric>
#include <utility>

#include "cli/bench_profile.h"

namespace dunlin {
namespace {

using Clock = std::chrono::steady_clock;

constexpr size_t kMostValues = 1024;
constexpr int64_t kLargest = int64_t{1} << 31;

bool take_number(std::string_view& text, int64_t& value) {
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  const auto digits = static_cast<size_t>(end - text.data());
  const bool leading_zero = digits > 1 && text.front() == '0';
  if (error != std::errc() || value < 0 || value > kLargest || leading_zero) return false;
  text.remove_prefix(digits);
  return true;
}

// One element of a list: N, A-B, A-B+STEP or A-B*FACTOR. False: none of these, or an endless one.
bool append_range(std::string_view text, std::vector<int64_t>& values) {
  int64_t first = 0;
  if (!take_number(text, first)) return false;
  int64_t last = first;
  int64_t step = 1;
  bool multiply = false;
  if (!text.empty()) {
    if (text.front() != '-') return false;
    text.remove_prefix(1);
    if (!take_number(text, last) || last < first) return false;
  }
  if (!text.empty()) {
    multiply = text.front() == '*';
    if (!multiply && text.front() != '+') return false;
    text.remove_prefix(1);
    if (!take_number(text, step) || !text.empty() || step < (multiply ? 2 : 1)) return false;
  }
  if (multiply && first == 0) return false;
  for (int64_t value = first; value <= last; value = multiply ? value * step : value + step) {
    if (values.size() == kMostValues) return false;
    values.push_back(value);
  }
  return true;
}

// Of the experts of a mixture, those that some row of a step chooses when each chooses at random.
double touched_share(const Program& program, const Node& node, int64_t rows) {
  const int64_t chosen = program.type(node.operands[1]).dims.back().size;
  const int64_t all = program.type(node.operands[3]).dims.front().size;
  return touched_experts(all, chosen, rows) / static_cast<double>(all);
}

}  // namespace

std::string BenchTest::name() const {
  std::string text = prompt > 0 ? fmt::format("pp{}", prompt) : std::string();
  if (generate > 0) text += fmt::format("{}tg{}", prompt > 0 ? "+" : "", generate);
  if (depth > 0) text += fmt::format(" @ d{}", depth);
  return text;
}

void BenchSamples::add_pass(int64_t rows, int64_t took_nanoseconds) {
  auto times = std::ranges::find(pass_times, rows, &PassTimes::rows);
  if (times == pass_times.end()) times = pass_times.insert(times, PassTimes{.rows = rows});
  ++times->passes;
  times->nanoseconds += took_nanoseconds;
}

std::vector<double> BenchSamples::tokens_per_second() const {
  std::vector<double> values;
  for (const int64_t each : nanoseconds)
    values.push_back(1e9 * static_cast<double>(tokens) / static_cast<double>(each));
  return values;
}

void add_programs(const DevicePrograms& before, const DevicePrograms& after, DevicePrograms& sum) {
  sum.compiled += after.compiled - before.compiled;
  sum.loaded += after.loaded - before.loaded;
  sum.seconds += after.seconds - before.seconds;
}

double mean(const std::vector<double>& values) {
  if (values.empty()) return 0.0;
  return std::accumulate(values.begin(), values.end(), 0.0) / static_cast<double>(values.size());
}

double standard_deviation(const std::vector<double>& values) {
  if (values.size() < 2) return 0.0;
  const double middle = mean(values);
  double squares = 0;
  for (const double value : values) squares += (value - middle) * (value - middle);
  return std::sqrt(squares / static_cast<double>(values.size() - 1));
}

Result<std::vector<int64_t>> parse_bench_list(const std::string& text) {
  std::vector<int64_t> values;
  std::string_view rest = text;
  for (bool more = true; more;) {
    const size_t comma = rest.find(',');
    more = comma != std::string_view::npos;
    if (!append_range(rest.substr(0, comma), values)) {
      return usage_error(
          fmt::format("\"{}\" is not a list such as 512 or 1,2 or 1-8*2 of at most {} numbers",
                      text, kMostValues));
    }
    if (more) rest.remove_prefix(comma + 1);
  }
  return values;
}

uint64_t streamed_weight_bytes(const Model& model, int64_t rows) {
  std::map<std::string, double> shares;  // that are read of each weight
  for (const Node& node : model.program.nodes) {
    if (node.op == Op::embed) continue;
    const double share = node.op == Op::experts ? touched_share(model.program, node, rows) : 1.0;
    for (const ValueId id : node.operands) {
      const Value& value = model.program.values[static_cast<size_t>(id)];
      if (value.kind != Value::Kind::weight) continue;
      double& read = shares[model.program.weights[static_cast<size_t>(value.weight)].name];
      read = std::max(read, share);
    }
  }
  double bytes = 0;
  for (const auto& [name, share] : shares) {
    const auto weight = model.checkpoint->weight(name);
    if (weight.ok()) bytes += share * static_cast<double>(weight->rows * weight->bytes_per_row());
  }
  return static_cast<uint64_t>(bytes);
}

Result<StepFlops> StepFlops::create(const Model& model) {
  DUNLIN_ASSIGN_OR_RETURN(WeightStorage storage,
                          weight_storage(model.program, [&model](const std::string& name) {
                            return model.checkpoint->weight(name);
                          }));
  DUNLIN_ASSIGN_OR_RETURN(const Storage cache, parse_kv_storage("bf16"));
  return StepFlops(PlannedModel(model.program, std::move(storage), cache, cache));
}

double StepFlops::of(const StepShape& step) const {
  double flops = 0;
  for (const NodeCost& cost : walk({planned_, Mesh{}}, step)) flops += cost.flops;
  return flops;
}

Result<double> matrix_flops(const Model& model, const BenchTest& test,
                            const BenchSamples& samples) {
  DUNLIN_ASSIGN_OR_RETURN(const StepFlops counter, StepFlops::create(model));
  if (!samples.passes.empty()) {
    double sum = 0;
    for (const StepShape& pass : samples.passes) sum += counter.of(pass);
    return sum;
  }
  const auto step_flops = [&counter](int64_t rows, int64_t logit_rows, int64_t cached) {
    return counter.of(
        {.rows_each = rows, .logit_rows = logit_rows, .cached = static_cast<double>(cached)});
  };
  double flops = 0;
  int64_t cached = test.depth;
  for (int64_t done = 0; done < test.prompt;) {
    const int64_t rows = std::min(test.prompt - done, model.limits.rows);
    done += rows;
    flops += step_flops(rows, done == test.prompt ? 1 : 0, cached);
    cached += rows;
  }
  for (int64_t i = 0; i < test.generate; ++i) flops += step_flops(1, 1, cached + i);
  return flops;
}

Result<ModelBench> ModelBench::create(Model& model) {
  DUNLIN_ASSIGN_OR_RETURN(SequenceRunner runner, SequenceRunner::create(model));
  return ModelBench(model, std::move(runner));
}

int32_t ModelBench::random_token() {
  return static_cast<int32_t>(random_() % static_cast<uint64_t>(model_->vocabulary));
}

Result<int64_t> ModelBench::run_prompt(int64_t tokens) {
  int64_t steps = 0;
  for (int64_t done = 0; done < tokens; ++steps) {
    const int64_t rows = std::min(tokens - done, model_->limits.rows);
    tokens_.resize(static_cast<size_t>(rows));
    for (int32_t& token : tokens_) token = random_token();
    done += rows;
    const auto logits =
        done == tokens ? SequenceRunner::LogitRows::last : SequenceRunner::LogitRows::none;
    DUNLIN_RETURN_IF_ERROR(runner_.run(tokens_, RowClass::prompt, logits));
  }
  return steps;
}

Result<int64_t> ModelBench::run_generate(int64_t tokens) {
  for (int64_t i = 0; i < tokens; ++i) {
    const int32_t token = random_token();
    DUNLIN_RETURN_IF_ERROR(
        runner_.run(std::span(&token, 1), RowClass::generated, SequenceRunner::LogitRows::last));
  }
  return tokens;
}

// The steps of both.
Result<int64_t> ModelBench::run_both(const BenchTest& test) {
  DUNLIN_ASSIGN_OR_RETURN(const int64_t prompt_steps, run_prompt(test.prompt));
  DUNLIN_ASSIGN_OR_RETURN(const int64_t generate_steps, run_generate(test.generate));
  return prompt_steps + generate_steps;
}

Result<void> ModelBench::go_to_depth(int64_t depth) {
  // What is there at that depth stays, unless a windowed layer has let go of it.
  if (depth > 0 && runner_.length() >= depth && runner_.truncate(depth).ok()) return {};
  DUNLIN_RETURN_IF_ERROR(runner_.reset());
  DUNLIN_RETURN_IF_ERROR(run_prompt(depth));
  return {};
}

Result<BenchSamples> ModelBench::measure(const BenchTest& test, int64_t repetitions, bool warm_up) {
  if (warm_up) {
    DUNLIN_RETURN_IF_ERROR(runner_.reset());
    DUNLIN_RETURN_IF_ERROR(run_prompt(test.prompt));
    DUNLIN_RETURN_IF_ERROR(run_generate(std::min<int64_t>(test.generate, 1)));
  }
  BenchSamples samples{.tokens = test.tokens()};
  for (int64_t i = 0; i < repetitions; ++i) {
    DUNLIN_RETURN_IF_ERROR(go_to_depth(test.depth));
    const DevicePrograms before = model_->executable->programs();
    const auto start = Clock::now();
    DUNLIN_ASSIGN_OR_RETURN(samples.weight_passes, run_both(test));
    const auto took = std::chrono::nanoseconds(Clock::now() - start).count();
    samples.nanoseconds.push_back(std::max<int64_t>(took, 1));
    add_programs(before, model_->executable->programs(), samples.timed_programs);
  }
  return samples;
}

Result<void> ModelBench::profile(const BenchTest& test, Profile& profile) {
  DUNLIN_RETURN_IF_ERROR(go_to_depth(test.depth));
  return record_while(*model_->executable, profile, [&]() -> Result<void> {
    const auto steps = run_both(test);
    return steps.ok() ? Result<void>() : Result<void>(steps.error());
  });
}

}  // namespace dunlin
