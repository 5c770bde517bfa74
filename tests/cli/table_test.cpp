#include "report/table.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "report/csv.h"

namespace dunlin {
namespace {

const std::vector<TableColumn> kColumns = {{"model", false, 7}, {"t/s", true, 9}};

TEST(MarkdownTable, HeaderAndRowsHaveTheColumnsWidths) {
  EXPECT_EQ(markdown_header(kColumns),
            "| model   |       t/s |\n"
            "| ------- | --------: |\n");
  // The plus-minus sign is one character of two bytes.
  EXPECT_EQ(markdown_row(kColumns, std::vector<std::string>{"llama", "1.5 ± 0.1"}),
            "| llama   | 1.5 ± 0.1 |\n");
}

TEST(MarkdownTable, ALongCellPushesTheRest) {
  EXPECT_EQ(markdown_row(kColumns, std::vector<std::string>{"a long name", "1"}),
            "| a long name |         1 |\n");
}

TEST(AlignedTable, ColumnsAreAsWideAsTheirLongestCell) {
  const std::vector<TableColumn> columns = {{"name"}, {"bytes", true}, {"file"}};
  const std::vector<std::vector<std::string>> rows = {{"a.weight", "7", "x"}, {"b", "1234567", ""}};
  EXPECT_EQ(aligned_table(columns, rows),
            "name        bytes  file\n"
            "a.weight        7  x\n"
            "b         1234567\n");
}

TEST(Csv, QuotesAreDoubled) {
  EXPECT_EQ(csv_row(std::vector<std::string>{"a", "say \"b\", c", ""}),
            "\"a\",\"say \"\"b\"\", c\",\"\"\n");
}

TEST(CharacterCount, CountsCodePoints) {
  EXPECT_EQ(character_count(""), 0u);
  EXPECT_EQ(character_count("a±€😀"), 4u);
}

}  // namespace
}  // namespace dunlin
