// Importance matrices: read as llama-imatrix writes them, wrong ones are errors.
#include "convert/imatrix.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>
#include <limits>

#include "checkpoint/gguf_writer.h"
#include "support/temporary_folder.h"

namespace dunlin {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

struct Entry {
  std::string name;
  std::vector<float> values;
  int64_t experts = 1;
};

class Imatrix : public testing::Test {
 protected:
  void write(const std::vector<Entry>& entries, const std::string& type = "imatrix") const {
    auto writer = GgufWriter::create(path_);
    writer->set_text("general.type", type);
    writer->set_u32("imatrix.chunk_count", 12);
    writer->set_texts("imatrix.datasets", std::vector<std::string>{"wiki.txt"});
    for (const Entry& entry : entries)
      writer->add_tensor(entry.name, {entry.experts, std::ssize(entry.values) / entry.experts},
                         Format::f32);
    ASSERT_TRUE(writer->begin_data().ok());
    for (const Entry& entry : entries)
      ASSERT_TRUE(writer->write(std::as_bytes(std::span(entry.values))).ok());
    ASSERT_TRUE(writer->finish().ok());
  }

  TemporaryFolder folder_;
  const std::string path_ = folder_.file("imatrix.gguf");
};

TEST_F(Imatrix, SumsAreDividedByTheirCounts) {
  write({{"blk.0.attn_q.weight.in_sum2", {2, 4, 8}},
         {"blk.0.attn_q.weight.counts", {4}},
         {"blk.1.attn_q.weight.in_sum2", {0, 0}},
         {"blk.1.attn_q.weight.counts", {0}}});
  const auto imatrix = read_imatrix(path_);
  ASSERT_TRUE(imatrix.ok()) << imatrix.error().message;
  EXPECT_EQ(imatrix->chunks, 12);
  EXPECT_THAT(imatrix->datasets, ElementsAre("wiki.txt"));
  ASSERT_EQ(imatrix->columns.size(), 2u);
  EXPECT_THAT(imatrix->columns.at("blk.0.attn_q.weight"), ElementsAre(0.5f, 1.0f, 2.0f));
  EXPECT_THAT(imatrix->columns.at("blk.1.attn_q.weight"), ElementsAre(1.0f, 1.0f));
}

TEST_F(Imatrix, ExpertsHaveColumnsOfTheirOwn) {
  const std::string name = "blk.0.ffn_down_exps.weight";
  write({{name + ".in_sum2", {2, 4, 3, 9, 0, 0}, 3}, {name + ".counts", {2, 3, 0}, 3}});
  const auto imatrix = read_imatrix(path_);
  ASSERT_TRUE(imatrix.ok()) << imatrix.error().message;
  EXPECT_THAT(imatrix->columns.at(name), ElementsAre(1, 2, 1, 3, 1, 1));
  EXPECT_THAT(imatrix->rows.at(name), ElementsAre(2, 3, 0));
}

TEST_F(Imatrix, WhatIsWrittenIsReadBack) {
  const ImportanceMatrix wanted = {.columns = {{"a", {1.5f, 0}}, {"b", {2, 4, 8, 1, 1, 1}}},
                                   .rows = {{"a", {4}}, {"b", {1000, 0}}},
                                   .datasets = {"text.txt"},
                                   .chunks = 3,
                                   .chunk_size = 512};
  ASSERT_TRUE(write_imatrix(wanted, path_).ok());
  const auto read = read_imatrix(path_);
  ASSERT_TRUE(read.ok()) << read.error().message;
  EXPECT_EQ(read->columns, wanted.columns);
  EXPECT_EQ(read->rows, wanted.rows);
  EXPECT_EQ(read->datasets, wanted.datasets);
  EXPECT_EQ(read->chunks, 3);
  EXPECT_EQ(read->chunk_size, 512);
  EXPECT_EQ(write_imatrix(wanted, folder_.file("none/file")).error().kind, ErrorKind::runtime);
}

TEST_F(Imatrix, EncodedMatricesGetTheirColumns) {
  const auto tensor = [](const std::string& name, Format from, Format to, int64_t columns) {
    TensorPlan plan{.name = name, .shape = {2, columns}, .view = {}, .format = to};
    plan.view.format = from;
    plan.view.rows = 2;
    plan.view.columns = columns;
    return plan;
  };
  const ImportanceMatrix imatrix = {.columns = {{"a", {1, 2, 3}}, {"c", {1}}, {"d", {1}}}};
  std::vector<TensorPlan> tensors = {
      tensor("a", Format::f32, Format::q8_0, 3), tensor("b", Format::f32, Format::q8_0, 3),
      tensor("c", Format::f32, Format::f16, 3), tensor("d", Format::q8_0, Format::q8_0, 3)};
  const auto without = apply_imatrix(imatrix, tensors);
  ASSERT_TRUE(without.ok()) << without.error().message;
  EXPECT_THAT(*without, ElementsAre("b"));
  EXPECT_THAT(tensors[0].importance, ElementsAre(1, 2, 3));
  EXPECT_TRUE(tensors[2].importance.empty());
  TensorPlan stack = tensor("a", Format::f32, Format::q8_0, 3);
  stack.shape = {2, 1, 3};
  tensors = {stack};
  const auto too_few = apply_imatrix(imatrix, tensors);
  ASSERT_FALSE(too_few.ok());
  EXPECT_THAT(too_few.error().message, HasSubstr("3 columns for a, the model 6 of 2 experts"));
  ASSERT_TRUE(apply_imatrix({.columns = {{"a", {1, 2, 3, 4, 5, 6}}}}, tensors).ok());
  EXPECT_THAT(tensors[0].importance, ElementsAre(1, 2, 3, 4, 5, 6));
  tensors = {tensor("a", Format::f32, Format::q8_0, 4)};
  const auto other = apply_imatrix(imatrix, tensors);
  ASSERT_FALSE(other.ok());
  EXPECT_EQ(other.error().kind, ErrorKind::model);
  EXPECT_THAT(other.error().message, HasSubstr("3 columns for a, the model 4"));
}

TEST_F(Imatrix, WrongFilesAreErrors) {
  const auto problem = [this] {
    const auto imatrix = read_imatrix(path_);
    EXPECT_FALSE(imatrix.ok());
    EXPECT_EQ(imatrix.error().kind, ErrorKind::model);
    EXPECT_THAT(imatrix.error().message, HasSubstr(path_));
    return imatrix.error().message;
  };
  EXPECT_THAT(problem(), HasSubstr("No such file"));
  std::ofstream(path_) << std::string(100, '\1');
  EXPECT_THAT(problem(), HasSubstr("a GGUF file of llama-imatrix"));
  write({}, "model");
  EXPECT_THAT(problem(), HasSubstr("general.type is not imatrix"));
  write({});
  EXPECT_THAT(problem(), HasSubstr("no entries"));
  write({{"a.in_sum2", {1}}});
  EXPECT_THAT(problem(), HasSubstr("a.counts is missing"));
  write({{"a.in_sum2", {1, 2, 3}, 3}, {"a.counts", {1, 1}, 2}});
  EXPECT_THAT(problem(), HasSubstr("a.counts has 2 numbers for 3 rows of sums"));
  for (const float bad :
       {-1.0f, std::numeric_limits<float>::quiet_NaN(), std::numeric_limits<float>::infinity()}) {
    write({{"a.in_sum2", {1, bad}}, {"a.counts", {1}}});
    EXPECT_THAT(problem(), HasSubstr("the tensor a.in_sum2 holds "));
    write({{"a.in_sum2", {1, 2}}, {"a.counts", {bad}}});
    EXPECT_THAT(problem(), HasSubstr("the tensor a.counts holds "));
  }
}

}  // namespace
}  // namespace dunlin
