// Errors of compile(), the plan of memory, and the pages of the KV cache.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstring>

#include "backend/cpu/cpu_backend.h"
#include "backend/cpu/kv_state.h"
#include "backend/cpu/memory_plan.h"
#include "backend/cpu/select.h"
#include "case_runner.h"
#include "program/ops.h"
#include "tiny_model.h"

namespace dunlin::cpu {
namespace {

using testing::HasSubstr;

Error compile_error(const TinyModel& model, const CompileOptions& options) {
  const auto compiled = make_cpu_backend()->compile(model.program, model.weights, options);
  EXPECT_FALSE(compiled.ok());
  return compiled.ok() ? Error{} : compiled.error();
}

TEST(Compile, NamesAWeightOfAnotherShape) {
  TinyModel model = tiny_model("llama", "BF16");
  const WeightSource weights = model.weights;
  model.weights = [weights](const std::string& name) -> Result<WeightView> {
    DUNLIN_ASSIGN_OR_RETURN(WeightView view, weights(name));
    if (name.ends_with("1.self_attn.k_proj.weight")) view.rows -= 1;
    return view;
  };
  const Error error = compile_error(model, tiny_options(Precision::automatic));
  EXPECT_EQ(error.kind, ErrorKind::model);
  EXPECT_THAT(error.message, HasSubstr("tensor model.layers.1.self_attn.k_proj.weight in "));
  EXPECT_THAT(error.message, HasSubstr("expected [64,256], found [63,256]"));
}

TEST(Compile, FastRefusesColumnsWhoseSumsNeedMoreThan32Bits) {
  TinyModel model;
  model.program =
      record("wide", {}, [](Recorder& r) {
        const AxisList width = {{Axis::embed, kMostWideColumns + 1}};
        const Tensor table = r.weights().matrix("embed_tokens", {{Axis::vocab, 2}}, width);
        const Tensor weight = r.weights().matrix("wide.weight", {{Axis::ffn, 3}}, width);
        r.output("result", linear(embed(r.tokens(), table), weight));
      }).value();
  model.weights = case_weights(model.program, Format::bf16);
  const Error error = compile_error(model, tiny_options(Precision::fast));
  EXPECT_EQ(error.kind, ErrorKind::model);
  EXPECT_THAT(error.message, HasSubstr("tensor wide.weight in random wide.weight: "));
  EXPECT_THAT(error.message, HasSubstr("at most 133144 columns, and it has 133145"));
}

TEST(Compile, PassesOnAMissingWeight) {
  TinyModel model = tiny_model("llama", "BF16");
  model.weights = [](const std::string& name) -> Result<WeightView> {
    return model_error("no tensor " + name);
  };
  EXPECT_THAT(compile_error(model, tiny_options(Precision::automatic)).message,
              HasSubstr("no tensor model."));
}

TEST(Compile, PassesOnAReadThatFails) {
  TinyModel model = tiny_model("llama", "Q8_0");
  const WeightSource weights = model.weights;
  model.weights = [weights](const std::string& name) -> Result<WeightView> {
    DUNLIN_ASSIGN_OR_RETURN(WeightView view, weights(name));
    if (name.ends_with("0.mlp.up_proj.weight")) view.offset += 1;
    return view;
  };
  const Error error = compile_error(model, tiny_options(Precision::automatic, 4));
  EXPECT_NE(error.message, "");
}

TEST(Compile, RefusesLimitsWithoutRows) {
  CompileOptions options = tiny_options(Precision::automatic);
  options.limits.rows = 0;
  EXPECT_EQ(compile_error(tiny_model("llama", "BF16"), options).kind, ErrorKind::usage);
}

TEST(Arena, DoesNotFitWhereTheSystemCannotReserveIt) {
  const auto arena = Arena::create(int64_t{1} << 60, "packed weights");
  ASSERT_FALSE(arena.ok());
  EXPECT_EQ(arena.error().kind, ErrorKind::does_not_fit);
  EXPECT_THAT(arena.error().message,
              HasSubstr("packed weights: cannot reserve 1152921504606846976 bytes"));
}

TEST(Compile, ReportsProgressUpToTheEnd) {
  CompileOptions options = tiny_options(Precision::automatic, 2);
  std::vector<double> fractions;
  options.progress = [&](double fraction, const std::string&) { fractions.push_back(fraction); };
  const TinyModel model = tiny_model("llama", "BF16");
  ASSERT_TRUE(make_cpu_backend()->compile(model.program, model.weights, options).ok());
  EXPECT_TRUE(std::ranges::is_sorted(fractions));
  EXPECT_EQ(fractions.front(), 0.0);
  EXPECT_EQ(fractions.back(), 1.0);
}

TEST(Weights, ATiedEmbeddingIsHeldOnce) {
  const auto backend = make_cpu_backend();
  const TinyModel model = tiny_model("llama", "Q8_0");
  const auto compiled =
      backend->compile(model.program, model.weights, tiny_options(Precision::automatic));
  ASSERT_TRUE(compiled.ok());
  int64_t stored = 0;
  for (const WeightDeclaration& weight : model.program.weights) {
    const WeightView view = model.weights(weight.name).value();
    stored += view.rows * view.bytes_per_row();
  }
  const auto held = static_cast<int64_t>((*compiled)->weights_bytes());
  EXPECT_GE(held, stored);
  // 300 rows of the embedding fill 19 stripes of 16; alignment is all that comes on top.
  EXPECT_LE(held, stored + stored / 100 + 4096);
}

// Simulates every step: a value that is still needed is never overwritten by another one.
TEST(MemoryPlan, KeepsWhatIsStillRead) {
  const StepLimits limits{.rows = 64, .logit_rows = 4, .sequences = 2, .context = 64};
  const RecordOptions all_taps{.taps = {"hidden.*", "q.*", "up.*"}, .logits_view_k = 5};
  for (const RecordOptions& options : {RecordOptions{}, all_taps}) {
    const Program program = tiny_model("qwen2", "F32", options).program;
    const std::vector<FusedStep> steps = fuse(program);
    const MemoryPlan plan = plan_memory(program, steps, limits);
    struct Range {
      int64_t begin, end;
    };
    const auto range_of = [&](ValueId id) {
      const ValueType& type = program.type(id);
      const int64_t begin = plan.offsets[static_cast<size_t>(id)];
      return Range{
          begin, begin + element_count(type.dims, largest_sizes(limits)) * dtype_bytes(type.dtype)};
    };
    std::vector<ValueId> written;  // values whose memory holds what was last written there
    const auto write = [&](ValueId id) {
      const Range range = range_of(id);
      ASSERT_GE(range.begin, 0);
      ASSERT_LE(range.end, plan.bytes);
      std::erase_if(written, [&](ValueId other) {
        const Range old = range_of(other);
        return old.begin < range.end && range.begin < old.end;
      });
      written.push_back(id);
    };
    const auto expect_there = [&](ValueId id, const std::string& reader) {
      const Node* node = producer(program, id);
      while (node != nullptr && select_runner(program, *node) == Runner::view) {
        id = node->operands[0];
        node = producer(program, id);
      }
      if (is_weight(program, id)) return;
      EXPECT_THAT(written, testing::Contains(id)) << reader;
    };
    for (size_t i = 0; i < program.values.size(); ++i) {
      if (program.values[i].kind == Value::Kind::input) write(static_cast<ValueId>(i));
    }
    for (const FusedStep& step : steps) {
      std::vector<ValueId> inside;
      for (const int32_t number : step.nodes()) {
        const Node& node = program.nodes[static_cast<size_t>(number)];
        for (const ValueId id : node.operands) {
          if (std::ranges::find(inside, id) == inside.end()) expect_there(id, node.name);
        }
        inside.insert(inside.end(), node.results.begin(), node.results.end());
      }
      for (const ValueId id : inside) {
        if (plan.offsets[static_cast<size_t>(id)] >= 0) write(id);
      }
    }
    for (const Output& output : program.outputs) expect_there(output.value, output.name);
  }
}

TEST(MemoryPlan, ReusesMemoryOfDeadValues) {
  const StepLimits limits{.rows = 64, .logit_rows = 1, .sequences = 1, .context = 64};
  const Program program = tiny_model("llama", "F32").program;
  const MemoryPlan plan = plan_memory(program, fuse(program), limits);
  // At most: the residual stream, gate and up; q, k, v fit where those are. Angles and logits stay.
  const int64_t row = (256 + 256 + 2 * 512 + 32) * 4;
  EXPECT_LE(plan.bytes, 64 * row + 300 * 4 + 4096);
}

class KvStateOfType : public testing::TestWithParam<KvType> {};
INSTANTIATE_TEST_SUITE_P(All, KvStateOfType,
                         testing::Values(KvType::bf16, KvType::f32, KvType::int8),
                         [](const auto& info) { return std::string(kv_type_name(info.param)); });

TEST_P(KvStateOfType, MovesAPageInEveryLayerAndHead) {
  const std::vector<KvGroup> groups{{.window = 0, .kv_heads = 3, .head_dim = 16, .layers = 2}};
  const auto made = CpuKvState::create(groups, {5}, GetParam());
  ASSERT_TRUE(made.ok());
  CpuKvState& state = **made;
  EXPECT_EQ(state.pages(0), 5);
  EXPECT_EQ(state.layout(), std::string("cpu ") + kv_type_name(GetParam()) + " 1");
  const int64_t bytes = kv_page_bytes(GetParam(), 16);
  EXPECT_EQ(state.bytes(), static_cast<uint64_t>(5 * 3 * 2 * bytes));
  const auto block = [&](int32_t layer, int64_t head, int64_t page) {
    return state.block(0, layer, head) + page * state.page_stride(0);
  };
  for (int32_t layer = 0; layer < 2; ++layer) {
    for (int64_t head = 0; head < 3; ++head) {
      for (int64_t page = 0; page < 5; ++page) {
        std::memset(block(layer, head, page), static_cast<int>(page + 1),
                    static_cast<size_t>(bytes));
      }
    }
  }
  state.move({.group = 0, .from = 3, .to = 1});
  state.move({.group = 0, .from = 2, .to = 2});
  for (int32_t layer = 0; layer < 2; ++layer) {
    for (int64_t head = 0; head < 3; ++head) {
      for (int64_t page = 0; page < 5; ++page) {
        const auto expected = static_cast<std::byte>(page == 1 ? 4 : page + 1);
        EXPECT_EQ(block(layer, head, page)[0], expected);
        EXPECT_EQ(block(layer, head, page)[bytes - 1], expected);
      }
    }
  }
}

TEST(KvState, TakesHalfTheBytesInInt8AndTheScales) {
  for (const int64_t head_dim : {64, 128}) {
    const std::vector<KvGroup> groups{
        {.window = 0, .kv_heads = 2, .head_dim = head_dim, .layers = 3}};
    const auto bytes = [&groups](KvType type) {
      return CpuKvState::bytes_of(groups, {7}, type).value();
    };
    const uint64_t scales = 7 * 2 * 3 * 2 * kPageTokens * sizeof(float);
    EXPECT_EQ(bytes(KvType::int8), bytes(KvType::bf16) / 2 + scales) << head_dim;
  }
}

TEST(KvState, OfInt8IsForProfilesInBf16) {
  const TinyModel model = tiny_model("llama", "BF16");
  const auto backend = make_cpu_backend();
  CompileOptions options = tiny_options(Precision::f32);
  options.kv_type = KvType::int8;
  const auto compiled = backend->compile(model.program, model.weights, options);
  ASSERT_FALSE(compiled.ok());
  EXPECT_EQ(compiled.error().kind, ErrorKind::usage);
  EXPECT_EQ(compiled.error().message, "--precision f32 keeps keys and values in f32, not in int8");
  const auto planned = backend->footprint(model.program, model.weights, options, {1});
  ASSERT_FALSE(planned.ok());
  EXPECT_EQ(planned.error().message, compiled.error().message);
}

TEST(KvState, RefusesCountsThatAreNoSizes) {
  const std::vector<KvGroup> groups{{.window = 0, .kv_heads = 3, .head_dim = 16, .layers = 2}};
  EXPECT_FALSE(CpuKvState::create(groups, {-1}, KvType::bf16).ok());
  EXPECT_FALSE(CpuKvState::create(groups, {1, 2}, KvType::bf16).ok());
  EXPECT_FALSE(CpuKvState::create(groups, {int64_t{1} << 62}, KvType::bf16).ok());
  const auto huge = CpuKvState::create(groups, {int64_t{1} << 42}, KvType::bf16);
  ASSERT_FALSE(huge.ok());
  EXPECT_EQ(huge.error().kind, ErrorKind::does_not_fit);
}

}  // namespace
}  // namespace dunlin::cpu
