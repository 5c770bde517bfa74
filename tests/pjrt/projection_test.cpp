// Products with packed weights: the text that is written, and what XLA makes of it.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "backend/pjrt/compiler.h"
#include "backend/pjrt/lower/context.h"
#include "backend/pjrt/weights.h"
#include "packed_weights.h"
#include "pjrt_device.h"
#include "program/definitions.h"
#include "program/ops.h"
#include "program/recorder.h"

namespace dunlin::pjrt {
namespace {

using testing::HasSubstr;
using testing::Not;

// y = x w^T of one matrix [outputs, columns], whose weight is number 1.
constexpr WeightId kMatrix = 1;
Program one_linear(int64_t outputs, int64_t columns) {
  return record("linear", {},
                [&](Recorder& r) {
                  const AxisList in{{Axis::embed, columns}};
                  const Tensor table = r.weights().matrix("table", {{Axis::vocab, 8}}, in);
                  const Tensor weight = r.weights().matrix("weight", {{Axis::ffn, outputs}}, in);
                  r.output("y", linear(embed(r.tokens(), table), weight));
                })
      .value();
}

std::vector<TensorType> types_of(const DeviceForm& form, int64_t outputs, int64_t columns) {
  const Program program = one_linear(outputs, columns);
  EXPECT_EQ(program.weights[kMatrix].name, "weight");
  return weight_types(program, {kMatrix, form});
}

// The type of values, or of codes and scales. A function of them and of one more argument; `write` says
// of what.
template <typename Write>
std::string function_of(const DeviceForm& form, const std::vector<TensorType>& types,
                        const TensorType& more, const Write& write) {
  Builder b;
  DeviceWeight weight{.form = form};
  weight.codes = b.argument(types[0]);
  if (types.size() > 1) weight.scales = b.argument(types[1]);
  if (types.size() > 2) weight.minimums = b.argument(types[2]);
  const Var last = b.argument(more);
  return b.finish({write(b, weight, last)});
}

std::string projection_text(const DeviceForm& form, int64_t rows, int64_t outputs, int64_t columns,
                            const ProductForm& product) {
  return function_of(form, types_of(form, outputs, columns), {Element::f32, {rows, columns}},
                     [&](Builder& b, const DeviceWeight& weight, const Var& x) {
                       return project(b, x, weight, product);
                     });
}

// Runs it on the test's device.
Result<std::vector<float>> run(const std::string& text, const WeightView& view,
                               const DeviceForm& form, const std::vector<TensorType>& types,
                               const TensorType& more, std::span<const std::byte> last,
                               const TensorType& result) {
  const auto client = test_client();
  // Values that are rounded to bf16 stay rounded.
  DUNLIN_ASSIGN_OR_RETURN(const auto program,
                          client->compile(text, with_own_options(client->plugin(), {})));
  DUNLIN_ASSIGN_OR_RETURN(const auto pool, ThreadPool::create(2));
  const WeightBox whole{IndexRuns::all(view.rows), IndexRuns::all(view.columns)};
  DUNLIN_ASSIGN_OR_RETURN(const HostArrays arrays,
                          read_arrays(view, whole, {kMatrix, form}, types, *pool));
  std::vector<Buffer> buffers;
  for (size_t i = 0; i < types.size(); ++i) {
    DUNLIN_ASSIGN_OR_RETURN(Buffer buffer, client->upload(types[i], arrays[i], 0));
    buffers.push_back(std::move(buffer));
  }
  DUNLIN_ASSIGN_OR_RETURN(Buffer argument, client->upload(more, last, 0));
  buffers.push_back(std::move(argument));
  std::vector<BufferId> ids;
  for (const Buffer& buffer : buffers) ids.push_back(buffer.id());
  DUNLIN_ASSIGN_OR_RETURN(const auto results, program->execute({ids}));
  std::vector<float> values(static_cast<size_t>(element_count(result.dims)));
  DUNLIN_RETURN_IF_ERROR(results[0][0].download(result, std::as_writable_bytes(std::span(values))));
  return values;
}

std::vector<float> inputs(int64_t count) {
  std::vector<float> x(static_cast<size_t>(count));
  for (size_t i = 0; i < x.size(); ++i) x[i] = std::sin(0.7f * static_cast<float>(i % 911) + 0.1f);
  return x;
}

// The largest distance of a projection from sums in double, relative to max(1, |value|).
Result<double> distance(Format format, const DeviceForm& form, int64_t rows, int64_t outputs,
                        int64_t columns, const ProductForm& product) {
  const WeightView view = random_weight(format, outputs, columns);
  const std::vector<float> x = inputs(rows * columns);
  DUNLIN_ASSIGN_OR_RETURN(const std::vector<float> y,
                          run(projection_text(form, rows, outputs, columns, product), view, form,
                              types_of(form, outputs, columns), {Element::f32, {rows, columns}},
                              std::as_bytes(std::span(x)), {Element::f32, {rows, outputs}}));
  const std::vector<float> w = decoded(view);
  double largest = 0;
  for (int64_t t = 0; t < rows; ++t) {
    for (int64_t o = 0; o < outputs; ++o) {
      double sum = 0;
      for (int64_t k = 0; k < columns; ++k)
        sum += static_cast<double>(x[static_cast<size_t>(t * columns + k)]) *
               static_cast<double>(w[static_cast<size_t>(o * columns + k)]);
      const double off = static_cast<double>(y[static_cast<size_t>(t * outputs + o)]) - sum;
      largest = std::max(largest, std::abs(off) / std::max(1.0, std::abs(sum)));
    }
  }
  return largest;
}

class Projection : public testing::TestWithParam<Format> {
 protected:
  DeviceForm form() const { return matrix_form(GetParam(), Precision::f32, Platform::cpu); }
};

// Three rows: a product for each group. Eighty: columns are decoded in tiles, of which the last two
// overlap.
TEST_P(Projection, IsTheSumOfProducts) {
  DUNLIN_NEEDS_PLUGIN();
  for (const int64_t rows : {3, 80}) {
    const auto f32 = distance(GetParam(), form(), rows, 700, 512, {Element::f32});
    ASSERT_TRUE(f32.ok()) << f32.error().message;
    EXPECT_LE(*f32, tolerance().f32) << rows;
    const auto bf16 = distance(GetParam(), form(), rows, 700, 512, {Element::bf16});
    ASSERT_TRUE(bf16.ok()) << bf16.error().message;
    EXPECT_LE(*bf16, tolerance().bf16) << rows;
    EXPECT_GT(*bf16, *f32) << "nothing was rounded";
  }
}

// Rows `wanted` of a table of 24 rows of 512.
void expect_rows(Format format, const std::vector<int32_t>& wanted, TableReads reads) {
  const DeviceForm table = table_form(format);
  const WeightView view = random_weight(format, 24, 512);
  const std::vector<TensorType> types = types_of(table, 24, 512);
  const auto count = static_cast<int64_t>(wanted.size());
  const TensorType ids{Element::i32, {count}};
  const std::string text =
      function_of(table, types, ids, [&](Builder& b, const DeviceWeight& w, const Var& rows) {
        return table_rows(b, w, rows, reads);
      });
  const auto rows = run(text, view, table, types, ids, std::as_bytes(std::span(wanted)),
                        {Element::f32, {count, 512}});
  ASSERT_TRUE(rows.ok()) << rows.error().message;
  const std::vector<float> whole = decoded(view);
  for (size_t i = 0; i < wanted.size(); ++i) {
    for (size_t k = 0; k < 512; ++k) {
      const float expected = whole[static_cast<size_t>(wanted[i]) * 512 + k];
      // A sum with the minimum may be fused with the product.
      ASSERT_NEAR((*rows)[i * 512 + k], expected, 1e-6f) << i << ", " << k;
    }
  }
}

// Sixteen rows are a turn of the loop over slices, of which the last two overlap.
TEST_P(Projection, RowsOfATableAreDecoded) {
  DUNLIN_NEEDS_PLUGIN();
  std::vector<int32_t> many;
  for (int32_t i = 0; i < 37; ++i) many.push_back(7 * i % 24);
  expect_rows(GetParam(), {23, 0, 7}, TableReads::gather);
  expect_rows(GetParam(), {23, 0, 7}, TableReads::slices);
  expect_rows(GetParam(), many, TableReads::slices);
}

INSTANTIATE_TEST_SUITE_P(Formats, Projection, testing::ValuesIn(packed_formats()),
                         [](const auto& info) { return std::string(traits(info.param).name); });

// As a GPU has them: one row as a sum, more as a product.
TEST(Projection, OfAGpuIsTheSumOfProducts) {
  DUNLIN_NEEDS_PLUGIN();
  for (const Format format : {Format::f32, Format::bf16, Format::i8}) {
    const DeviceForm form = matrix_form(format, Precision::automatic, Platform::gpu);
    for (const int64_t rows : {1, 3}) {
      const auto f32 = distance(format, form, rows, 700, 512, {Element::f32, true});
      ASSERT_TRUE(f32.ok()) << f32.error().message;
      const bool rounds = format == Format::bf16;
      EXPECT_LE(*f32, rounds ? tolerance().bf16 : tolerance().f32) << traits(format).name << rows;
      const auto bf16 = distance(format, form, rows, 700, 512, {Element::bf16, true});
      ASSERT_TRUE(bf16.ok()) << bf16.error().message;
      EXPECT_LE(*bf16, tolerance().bf16) << traits(format).name << rows;
    }
  }
}

// Nothing but a conversion stands between codes and their product.
TEST(ProjectionText, ScalesMeetTheSumsOfGroups) {
  const DeviceForm form = matrix_form(Format::q4_0, Precision::automatic, Platform::tpu);
  const std::string text = projection_text(form, 8, 1024, 4096, {Element::bf16});
  EXPECT_THAT(text, HasSubstr("stablehlo.convert %arg0 : (tensor<128x32x1024xi4>) -> "
                              "tensor<128x32x1024xbf16>"));
  EXPECT_THAT(text, HasSubstr("batching_dims = [1] x [0], contracting_dims = [2] x [1] : "
                              "(tensor<8x128x32xbf16>, tensor<128x32x1024xbf16>) -> "
                              "tensor<128x8x1024xf32>"));
  EXPECT_THAT(text, Not(HasSubstr("tensor<128x32x1024xf32>")));
  EXPECT_THAT(text, Not(HasSubstr("stablehlo.while")));
}

TEST(ProjectionText, AScalePerOutputMeetsTheSum) {
  const DeviceForm form = matrix_form(Format::i8, Precision::automatic, Platform::tpu);
  const std::string text = projection_text(form, 8, 1024, 4096, {Element::bf16});
  EXPECT_THAT(text, HasSubstr("(tensor<4096x1024xi8>) -> tensor<4096x1024xbf16>"));
  EXPECT_THAT(text, HasSubstr("stablehlo.multiply"));
  EXPECT_THAT(text, Not(HasSubstr("tensor<4096x1024xf32>")));
}

TEST(ProjectionText, OneRowOnAGpuIsASum) {
  LoweringOptions options{.formats = {Format::bf16, Format::i8}};
  options.platform = Platform::gpu;
  const DeviceForm form = matrix_form(Format::i8, Precision::automatic, Platform::gpu);
  const std::string one = projection_text(form, 1, 1024, 4096, product_form(options));
  EXPECT_THAT(one, Not(HasSubstr("stablehlo.dot_general")));
  EXPECT_THAT(one, HasSubstr("(tensor<1024x4096xi8>) -> tensor<1024x4096xf32>"));
  const std::string two = projection_text(form, 2, 1024, 4096, product_form(options));
  EXPECT_THAT(two, HasSubstr("contracting_dims = [1] x [1] : (tensor<2x4096xbf16>, "
                             "tensor<1024x4096xbf16>) -> tensor<2x1024xf32>"));
  options.platform = Platform::tpu;
  EXPECT_THAT(projection_text(form, 1, 1024, 4096, product_form(options)),
              HasSubstr("stablehlo.dot_general"));
}

// A TPU copies a table of other rows before it gathers from it.
TEST(ProjectionText, RowsOfNoWholeTilesAreSlicedOnATpu) {
  const auto reads = [](Platform platform, int64_t columns) {
    DeviceWeight table;
    table.codes.type = {Element::bf16, {32, columns}};
    return table_reads(platform, table);
  };
  EXPECT_EQ(reads(Platform::tpu, 2880), TableReads::slices);
  EXPECT_EQ(reads(Platform::tpu, 2944), TableReads::gather);
  EXPECT_EQ(reads(Platform::gpu, 2880), TableReads::gather);
  EXPECT_EQ(reads(Platform::cpu, 2880), TableReads::gather);
}

TEST(ProjectionText, ExponentsBecomePowersOfTwo) {
  const DeviceForm form = matrix_form(Format::mxfp4, Precision::automatic, Platform::tpu);
  const std::string text = projection_text(form, 8, 1024, 4096, {Element::bf16});
  EXPECT_THAT(text, HasSubstr("tensor<128x32x1024xf4E2M1FN>"));
  EXPECT_THAT(text, HasSubstr("stablehlo.shift_left"));
  EXPECT_THAT(text, HasSubstr("(tensor<128x1024xi32>) -> tensor<128x1024xf32>"));
}

// The sums of all groups of an LM head would be 268 MB.
TEST(ProjectionText, LargeSumsAreMadeInTiles) {
  const DeviceForm form = matrix_form(Format::q4_0, Precision::automatic, Platform::tpu);
  const std::string text = projection_text(form, 64, 8192, 4096, {Element::bf16});
  EXPECT_THAT(text, HasSubstr("stablehlo.while"));
  EXPECT_THAT(text, HasSubstr("tensor<128x64x2048xf32>"));
  EXPECT_THAT(text, Not(HasSubstr("tensor<128x64x8192xf32>")));
}

// A prompt never has its weight in bf16 as a whole.
TEST(ProjectionText, ManyRowsDecodeATileAtATime) {
  const DeviceForm form = matrix_form(Format::q4_k, Precision::automatic, Platform::tpu);
  const std::string text = projection_text(form, 512, 8192, 4096, {Element::bf16});
  EXPECT_THAT(text, HasSubstr("stablehlo.while"));
  EXPECT_THAT(text, HasSubstr("tensor<4096x512xbf16>"));
  EXPECT_THAT(text, Not(HasSubstr("x8192xbf16")));
}

// A model of a table and a head, whose candidates a loop of steps needs.
Program table_and_head() {
  const Program program = record("table_and_head", {}, [](Recorder& r) {
                            const AxisList in{{Axis::embed, 64}};
                            const Tensor table =
                                r.weights().matrix("table", {{Axis::vocab, 32}}, in);
                            const Tensor head = r.weights().matrix("head", {{Axis::vocab, 32}}, in);
                            const Tensor x = gather_rows(embed(r.tokens(), table), r.logit_rows());
                            const Tensor logits = linear(x, head);
                            const LogitsViewTensors view = logits_view(logits, r.temperatures(), 3);
                            r.output(kLogitsOutput, logits);
                            r.output(kStatisticsOutput, view.statistics);
                            r.output(kCandidateIdsOutput, view.ids);
                            r.output(kCandidateLogitsOutput, view.logits);
                          }).value();
  return expand(program, [](const Node& node) { return is_lowered_directly(node.op); }).value();
}

// Out of a loop a compiler would take the conversion of a weight that does not change: a copy of it in
// bf16 would live as long as the loop.
TEST(LoopText, PackedWeightsBelongToTheirStep) {
  const Program program = table_and_head();
  LoweringOptions options{.formats = {Format::q8_0, Format::q8_0}};
  options.platform = Platform::tpu;
  Bucket bucket{
      .segments = {{2, 1, true}}, .logit_rows = 2, .kv_length = 16, .slots = 16, .groups = {}};
  EXPECT_THAT(lower(program, bucket, options).text, Not(HasSubstr("optimization_barrier")));
  bucket.steps = 4;
  const std::string text = lower(program, bucket, options).text;
  // The number of the step, codes and scales.
  EXPECT_THAT(text, testing::ContainsRegex("%[0-9]+:3 = \"stablehlo.optimization_barrier\"[(]"));
  EXPECT_THAT(text, testing::ContainsRegex("stablehlo.convert %[0-9]+#1 : [(]tensor<2x32x32xi8>"));
  options.formats = {Format::bf16, Format::bf16};
  EXPECT_THAT(lower(program, bucket, options).text, Not(HasSubstr("optimization_barrier")));
}

TEST(WeightArrays, BytesOfADeviceAreThoseOfItsForms) {
  const Program program = one_linear(1024, 4096);
  for (const Platform platform : {Platform::cpu, Platform::gpu, Platform::tpu}) {
    for (const FormRow& row : form_table(platform)) {
      const DeviceForm form = matrix_form(row.format, Precision::automatic, platform);
      EXPECT_EQ(8 * weight_bytes(program, {kMatrix, form}), 1024 * row_bits(form, 4096))
          << traits(row.format).name << " on " << platform_name(platform);
      EXPECT_EQ(8 * weight_bytes(program, {kMatrix, table_form(row.format)}),
                1024 * row_bits(table_form(row.format), 4096))
          << traits(row.format).name;
    }
  }
}

TEST(WeightArrays, PeopleAreToldWhatIsWidened) {
  const Program program = one_linear(1024, 4096);
  LoweringOptions options{.formats = {Format::f32, Format::q4_k}};
  options.platform = Platform::gpu;
  EXPECT_THAT(widening_note(program, options), HasSubstr("Q4_K weights are held as bf16 by a GPU"));
  EXPECT_EQ(forms_of_operations(program, options).at(Op::linear), "bf16");
  options.platform = Platform::tpu;
  EXPECT_EQ(widening_note(program, options), "");
  EXPECT_EQ(forms_of_operations(program, options).at(Op::linear),
            "u4 in groups of 32 with minimums");
  EXPECT_EQ(forms_of_operations(program, options).at(Op::embed), "f32");
}

TEST(WeightArrays, GroupsAreSplitAsTheirColumns) {
  const std::vector<std::string> rows = {"kv"};
  const std::vector<std::string> columns = {"group"};
  const std::vector<std::string> experts = {"expert"};
  const std::vector<std::string> none;
  const DeviceForm groups = matrix_form(Format::q4_k, Precision::automatic, Platform::tpu);
  const Splits scales = {experts, columns, rows};
  EXPECT_EQ(weight_splits({experts, rows, columns}, groups),
            (std::vector<Splits>{{experts, columns, none, rows}, scales, scales}));
  const DeviceForm channels = matrix_form(Format::i8, Precision::automatic, Platform::tpu);
  EXPECT_EQ(weight_splits({rows, columns}, channels),
            (std::vector<Splits>{{columns, rows}, Splits{rows}}));
  const DeviceForm of_rows = matrix_form(Format::i8, Precision::automatic, Platform::gpu);
  EXPECT_EQ(weight_splits({rows, columns}, of_rows),
            (std::vector<Splits>{{rows, columns}, Splits{rows}}));
  EXPECT_EQ(weight_splits({rows, columns}, table_form(Format::q8_0)),
            (std::vector<Splits>{{rows, columns}, {rows, columns}}));
  EXPECT_EQ(weight_splits({rows, columns}, {}), (std::vector<Splits>{{rows, columns}}));
}

TEST(WeightArrays, AScaleOfATablesRowIsSplitAsItsRows) {
  const std::vector<std::string> rows = {"kv"};
  const std::vector<std::string> columns = {"group"};
  EXPECT_EQ(weight_splits({rows, columns}, table_form(Format::i8)),
            (std::vector<Splits>{{rows, columns}, Splits{rows}}));
}

}  // namespace
}  // namespace dunlin::pjrt
