// Tables for people: Markdown with fixed column widths, so that rows can be printed as they come,
// and aligned columns.
#pragma once

#include <cstddef>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace dunlin {

struct TableColumn {
  std::string title;
  bool right = false;  // numbers are aligned to the right
  size_t width = 0;    // at least so many characters
};

// Characters (code points) of UTF-8 text; combining marks and wide characters count one each.
size_t character_count(std::string_view text);

// Title and delimiter rows, each with a newline: "| model |  size |\n| ----- | ----: |\n".
std::string markdown_header(std::span<const TableColumn> columns);
// One row; as many cells as columns. A longer cell pushes what follows it.
std::string markdown_row(std::span<const TableColumn> columns, std::span<const std::string> cells);

// Titles and rows, two spaces between columns that are as wide as their longest cell; no space at
// the ends of lines.
std::string aligned_table(std::span<const TableColumn> columns,
                          std::span<const std::vector<std::string>> rows);

}  // namespace dunlin
