// Charts as self-contained SVG: lines or stacked areas over a number axis. Colours are Okabe and Ito's
// ("Color Universal Design", 2008), which people with colour-vision deficiencies tell apart; lines
// also differ by their marks. No scripts, no fonts or files of elsewhere.
#pragma once

#include <string>
#include <vector>

namespace dunlin {

struct ChartPoint {
  double x = 0;
  double y = 0;
};

struct ChartSeries {
  std::string name;
  std::vector<ChartPoint> points;  // ascending by x
  bool dashed = false;
};

enum class ChartScale : unsigned char { linear, log2, log10 };

struct ChartAxis {
  std::string label = {};
  ChartScale scale = ChartScale::linear;  // a logarithmic axis has positive values only
};

// A line across the chart at one value, with its name.
struct ChartLimit {
  std::string name;
  double value = 0;
};

struct Chart {
  std::string title = {};
  std::string subtitle = {};
  ChartAxis x = {};
  ChartAxis y = {};
  std::vector<ChartSeries> series = {};  // at most 8
  bool stacked = false;                  // areas on top of each other, at the same x (linear y)
  std::vector<ChartLimit> across = {};   // at values of y
  std::vector<ChartLimit> upright = {};  // at values of x
};

// A document of 720 x 440 units. Values that are not finite, and on a logarithmic axis those that are
// not positive, are left out.
std::string svg_chart(const Chart& chart);

// "1.5 k", "12 M", "0.25": three significant digits with a decimal prefix.
std::string short_number(double value);

}  // namespace dunlin
