// What compilers of devices that are not here make of packed weights: each choice of the table in
// backend/packed_forms.cpp is a row here, and fails when a plug-in starts to write weights out.
#include <gtest/gtest.h>

#include <string>
#include <utility>
#include <vector>

#include "backend/pjrt/client/compiled_program.h"
#include "backend/pjrt/client/hlo_summary.h"
#include "backend/pjrt/client/local_calls.h"
#include "backend/pjrt/compiler.h"
#include "backend/pjrt/discover.h"
#include "backend/pjrt/lower/lower.h"
#include "backend/pjrt/target.h"
#include "bare_models.h"
#include "models/registry.h"
#include "program/definitions.h"
#include "program/ops.h"
#include "program/recorder.h"

namespace dunlin::pjrt {
namespace {

constexpr int64_t kWidth = 4096;
constexpr int64_t kFfn = 14336;

// Two feed-forward layers of an 8B model, a table and the head of a large vocabulary: what reads
// nearly all of its weights. Without attention, whose cache has tests of its own.
Program feed_forwards() {
  return record("feed_forwards", {},
                [](Recorder& r) {
                  const AxisList width{{Axis::embed, kWidth}};
                  const AxisList ffn{{Axis::ffn, kFfn}};
                  const WeightScope w = r.weights();
                  Tensor x = embed(r.tokens(), w.matrix("table", {{Axis::vocab, 32768}}, width));
                  for (int layer = 0; layer < 2; ++layer) {
                    const std::string at = "layers." + std::to_string(layer) + ".";
                    const Tensor gate = linear(x, w.matrix(at + "gate", ffn, width));
                    const Tensor up = linear(x, w.matrix(at + "up", ffn, width));
                    x = add(x, linear(gated(gate, up, {}), w.matrix(at + "down", width, ffn)));
                  }
                  const Tensor head = w.matrix("head", {{Axis::vocab, 128256}}, width);
                  r.output("y", linear(gather_rows(x, r.logit_rows()), head));
                })
      .value();
}

// Two layers of GPT-OSS' experts: 32 of width and ffn 2880, four for each row.
Program mixtures() {
  return record("mixtures", {},
                [](Recorder& r) {
                  const AxisList e{{Axis::experts, 32}};
                  const AxisList d{{Axis::embed, 2880}};
                  const AxisList f{{Axis::ffn, 2880}};
                  const WeightScope w = r.weights();
                  Tensor x = embed(r.tokens(), w.matrix("table", {{Axis::vocab, 8192}}, d));
                  for (int layer = 0; layer < 2; ++layer) {
                    const std::string at = "layers." + std::to_string(layer) + ".";
                    const Routes routes = route(x, w.matrix(at + "router", e, d), {}, {4});
                    const ExpertWeights weights{w.stack(at + "gate", e, f, d),
                                                w.stack(at + "up", e, f, d),
                                                w.stack(at + "down", e, d, f),
                                                {},
                                                {},
                                                {}};
                    x = add(x, experts(x, routes, weights, {}));
                  }
                  r.output("y", x);
                })
      .value();
}

struct Wanted {
  std::string topology;
  Format format = Format::f32;
  bool experts = false;
  int64_t rows = 8;  // of a decode step
};

// Routers and what is no matrix are float32.
std::vector<Format> formats_of(const Program& program, Format format) {
  std::vector<Format> formats;
  for (const WeightDeclaration& weight : program.weights)
    formats.push_back(weight.name.ends_with("router") ? Format::f32 : format);
  return formats;
}

class PackedAheadOfTime : public testing::TestWithParam<Wanted> {
 protected:
  void SetUp() override {
    target_ = find_target(GetParam().topology).value();
    const auto place = find_plugin(target_.plugin);
    if (!place.ok()) GTEST_SKIP() << place.error().message;
    path_ = place->path;
  }

  Result<CompiledProgram> compiled(const std::string& text) const {
    DUNLIN_ASSIGN_OR_RETURN(const auto calls, LocalCalls::load(path_));
    DUNLIN_ASSIGN_OR_RETURN(const auto topology,
                            Topology::create(calls, target_.topology, target_.options));
    CompileSpec spec;
    spec.device_ids = {0};
    return topology->compile(text, with_own_options(calls->plugin(), std::move(spec)));
  }

  // The program of one bucket of rows.
  Result<CompiledProgram> compiled(const Program& expanded, const BucketSegment& rows) const {
    const Bucket bucket{
        .segments = {rows}, .logit_rows = 8, .kv_length = 16, .slots = 16, .groups = {}};
    return compiled(lower(expanded, bucket, options(expanded)).text);
  }
  LoweringOptions options(const Program& expanded) const {
    LoweringOptions options;
    options.formats = formats_of(expanded, GetParam().format);
    options.platform = platform_of(target_.plugin);
    return options;
  }
  static Program expanded_program() {
    const Program program = GetParam().experts ? mixtures() : feed_forwards();
    return expand(program, [](const Node& node) { return is_lowered_directly(node.op); }).value();
  }

  Target target_;
  std::string path_;
};

// No array of floats that the program keeps outside its fusions and loops is as large as a weight.
void expect_no_weight_in_floats(const CompiledProgram& program, int64_t elements) {
  const auto optimised = program.optimised();
  ASSERT_TRUE(optimised.ok()) << optimised.error().message;
  const auto operations = read_hlo(*optimised);
  ASSERT_TRUE(operations.ok()) << operations.error().message;
  int64_t seen = 0;  // of the function itself, which keeps its name
  for (const HloOperation& it : *operations) {
    if (!it.computation.starts_with("main")) continue;
    ++seen;
    if (it.opcode == "parameter") continue;  // scales of experts
    const bool floats = it.shape.starts_with("bf16[") || it.shape.starts_with("f32[");
    if (!floats) continue;
    EXPECT_LT(it.elements, elements) << it.opcode << " " << it.name << " " << it.shape;
  }
  EXPECT_GT(seen, 0);
}

TEST_P(PackedAheadOfTime, WeightsStayPackedInADecodeStep) {
  const Program program = expanded_program();
  ASSERT_EQ(widening_note(program, options(program)), "");
  const auto made = compiled(program, {GetParam().rows, 1, true});
  ASSERT_TRUE(made.ok()) << made.error().message;
  const auto memory = made->memory();
  ASSERT_TRUE(memory.ok()) << memory.error().message;
  RecordProperty("arguments", std::to_string(memory->arguments));
  RecordProperty("temporary", std::to_string(memory->temporary));
  int64_t weights = 0;
  for (const WeightUse& use : weight_uses(program, options(program)))
    weights += weight_bytes(program, use);
  // What the plug-in counts is what `compile` and `plan` say, but for padding to tiles.
  EXPECT_GE(memory->arguments, weights);
  EXPECT_LE(memory->arguments, weights + weights / 10);
  EXPECT_LE(memory->temporary, memory->arguments / 100);
  // Not even one expert, in the loop over them.
  if (GetParam().experts) {
    EXPECT_LT(memory->temporary, int64_t{2} * 2880 * 2880);
  }
  expect_no_weight_in_floats(*made, GetParam().experts ? int64_t{2880} * 2880 : kWidth * kFfn);
}

class PackedLoopAheadOfTime : public PackedAheadOfTime {};

// Eight steps in one call: the loop around them is no reason to convert a weight once for all of them,
// which would leave 117 MB for each of the feed-forward's.
TEST_P(PackedLoopAheadOfTime, KeepsNoConvertedWeight) {
  const auto recorded = record_model(dense_config("llama", {.width = kWidth,
                                                            .layers = 2,
                                                            .heads = 32,
                                                            .kv_heads = 8,
                                                            .ffn = kFfn,
                                                            .vocabulary = 32768}),
                                     {.logits_view_k = 64});
  ASSERT_TRUE(recorded.ok()) << recorded.error().message;
  const Program program =
      expand(*recorded, [](const Node& node) { return is_lowered_directly(node.op); }).value();
  const Bucket bucket{.segments = {{GetParam().rows, 1, true}},
                      .logit_rows = GetParam().rows,
                      .kv_length = 256,
                      .slots = 256,
                      .steps = 8,
                      .groups = {{8, 256}}};
  const auto made = compiled(lower(program, bucket, options(program)).text);
  ASSERT_TRUE(made.ok()) << made.error().message;
  const auto memory = made->memory();
  ASSERT_TRUE(memory.ok()) << memory.error().message;
  RecordProperty("temporary", std::to_string(memory->temporary));
  EXPECT_LE(memory->temporary, int64_t{64} << 20);
}

// A single row on a GPU takes float32 of each weight into its sum, and of bf16 weights nothing ties them to
// their step.
const std::vector<Wanted> kSingleRowsOfLoops = {
    {"h200", Format::i8, /*experts=*/false, /*rows=*/1},
    {"h200", Format::bf16, /*experts=*/false, /*rows=*/1},
};

class PackedPromptAheadOfTime : public PackedAheadOfTime {};

// Values of 512 rows are 29 MB each, and a decoded tile is 15 MB; a decoded weight would be 235 MB, in
// bf16 117 MB.
TEST_P(PackedPromptAheadOfTime, DecodesATileAtATime) {
  const auto made = compiled(expanded_program(), {1, 512, false});
  ASSERT_TRUE(made.ok()) << made.error().message;
  const auto memory = made->memory();
  ASSERT_TRUE(memory.ok()) << memory.error().message;
  RecordProperty("temporary", std::to_string(memory->temporary));
  // Up to three values live at a time.
  EXPECT_LE(memory->temporary, int64_t{192} << 20);
}

const std::vector<Format> kEveryKind = {Format::i8,   Format::q8_0, Format::q4_0,
                                        Format::q4_k, Format::q6_k, Format::mxfp4};

// These forms on one TPU, a form of each width of code on the next one, whose compiler is the same, and
// what stays packed on GPUs.
std::vector<Wanted> dense_in(const std::vector<Format>& formats) {
  std::vector<Wanted> all;
  for (const Format format : formats) all.push_back({"v5e:1x1", format});
  for (const Format format : {Format::i8, Format::q4_0}) all.push_back({"v6e:1x1", format});
  all.push_back({"h200", Format::i8});
  return all;
}

// What is compiled of the sum that one row is there. XLA makes such a sum of a product of one row, too, where
// there is no device to time them on: ProjectionText.OneRowOnAGpuIsASum tells which was asked for.
std::vector<Wanted> single_rows_on_gpus() {
  return {{"h200", Format::i8, /*experts=*/false, /*rows=*/1},
          {"h200", Format::bf16, /*experts=*/true, /*rows=*/1}};
}

std::vector<Wanted> mixtures_on_tpus() {
  std::vector<Wanted> all;
  for (const Format format : {Format::i8, Format::q4_0, Format::mxfp4})
    all.push_back({"v5e:1x1", format, /*experts=*/true});
  all.push_back({"v6e:1x1", Format::mxfp4, /*experts=*/true});
  return all;
}

const auto wanted_name = [](const auto& info) {
  const Wanted& it = info.param;
  return it.topology.substr(0, it.topology.find(':')) + "_" + traits(it.format).name;
};

INSTANTIATE_TEST_SUITE_P(Dense, PackedAheadOfTime, testing::ValuesIn(dense_in(kEveryKind)),
                         wanted_name);
INSTANTIATE_TEST_SUITE_P(SingleRows, PackedAheadOfTime, testing::ValuesIn(single_rows_on_gpus()),
                         wanted_name);
INSTANTIATE_TEST_SUITE_P(Mixtures, PackedAheadOfTime, testing::ValuesIn(mixtures_on_tpus()),
                         wanted_name);
// The other forms differ in what stands between code and sum, not in the codes.
INSTANTIATE_TEST_SUITE_P(Dense, PackedLoopAheadOfTime,
                         testing::ValuesIn(dense_in({Format::i8, Format::q4_0, Format::mxfp4})),
                         wanted_name);
INSTANTIATE_TEST_SUITE_P(SingleRows, PackedLoopAheadOfTime, testing::ValuesIn(kSingleRowsOfLoops),
                         wanted_name);
INSTANTIATE_TEST_SUITE_P(Dense, PackedPromptAheadOfTime, testing::ValuesIn(dense_in(kEveryKind)),
                         wanted_name);

}  // namespace
}  // namespace dunlin::pjrt
