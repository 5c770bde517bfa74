#include "report/table.h"

#include <algorithm>

#include "base/check.h"

namespace dunlin {
namespace {

std::string padded(std::string_view text, size_t width, bool right) {
  const size_t count = character_count(text);
  const std::string space(width > count ? width - count : 0, ' ');
  return right ? space + std::string(text) : std::string(text) + space;
}

std::string aligned_line(std::span<const TableColumn> columns, std::span<const size_t> widths,
                         std::span<const std::string> cells) {
  std::string line;
  for (size_t i = 0; i < columns.size(); ++i) {
    if (i > 0) line += "  ";
    line += padded(cells[i], widths[i], columns[i].right);
  }
  line.erase(line.find_last_not_of(' ') + 1);
  return line + '\n';
}

std::vector<std::string> titles(std::span<const TableColumn> columns) {
  std::vector<std::string> names;
  for (const TableColumn& column : columns) names.push_back(column.title);
  return names;
}

}  // namespace

size_t character_count(std::string_view text) {
  return static_cast<size_t>(std::ranges::count_if(
      text, [](char byte) { return (static_cast<unsigned char>(byte) & 0xC0u) != 0x80u; }));
}

std::string markdown_row(std::span<const TableColumn> columns, std::span<const std::string> cells) {
  DUNLIN_CHECK(cells.size() == columns.size(), "a table row needs one cell for each column");
  std::string row = "|";
  for (size_t i = 0; i < columns.size(); ++i) {
    row += ' ' + padded(cells[i], columns[i].width, columns[i].right) + " |";
  }
  return row + '\n';
}

std::string markdown_header(std::span<const TableColumn> columns) {
  std::vector<std::string> rules;
  for (const TableColumn& column : columns) {
    // Markdown asks for three characters at least.
    const size_t width = std::max({column.width, character_count(column.title), size_t{3}});
    rules.push_back(std::string(width - 1, '-') + (column.right ? ':' : '-'));
  }
  return markdown_row(columns, titles(columns)) + markdown_row(columns, rules);
}

std::string aligned_table(std::span<const TableColumn> columns,
                          std::span<const std::vector<std::string>> rows) {
  std::vector<size_t> widths;
  for (size_t i = 0; i < columns.size(); ++i) {
    size_t width = std::max(columns[i].width, character_count(columns[i].title));
    for (const auto& row : rows) {
      DUNLIN_CHECK(row.size() == columns.size(), "a table row needs one cell for each column");
      width = std::max(width, character_count(row[i]));
    }
    widths.push_back(width);
  }
  std::string text = aligned_line(columns, widths, titles(columns));
  for (const auto& row : rows) text += aligned_line(columns, widths, row);
  return text;
}

}  // namespace dunlin
