// Bars as self-contained SVG, one below the other: names on the left, values at their ends. No
// scripts, no fonts or files of elsewhere.
#pragma once

#include <cstddef>
#include <string>
#include <vector>

#include "report/svg_chart.h"

namespace dunlin {

struct Bar {
  std::string name;
  double value = 0;
  std::string label = {};  // at the end of the bar
  size_t kind = 0;         // number in BarChart::kinds, which gives the colour
};

struct BarChart {
  std::string title = {};
  std::string subtitle = {};
  ChartAxis x = {};                     // of the values; linear or log10
  std::vector<std::string> kinds = {};  // at most 8, for the legend
  std::vector<Bar> bars = {};
};

// A document 720 units wide, as high as its bars need. On a linear axis bars begin at 0, on a
// logarithmic one at the power of ten below the smallest value. Values that are not finite or not
// positive have a label and no bar.
std::string svg_bars(const BarChart& chart);

}  // namespace dunlin
