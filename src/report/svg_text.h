// What every chart draws with: colours and text in SVG.
#pragma once

#include <string>

namespace dunlin {

// Okabe and Ito's ("Color Universal Design", 2008).
inline constexpr const char* kChartColours[] = {"#0072B2", "#E69F00", "#009E73", "#D55E00",
                                                "#56B4E9", "#CC79A7", "#8A8A00", "#000000"};

std::string svg_escaped(const std::string& text);

struct SvgTextStyle {
  const char* anchor = "start";  // which point of the text lies at x: start, middle, end
  int size = 12;
  const char* colour = "#222222";
  const char* weight = "normal";
};
// A line of text with its baseline at y.
std::string svg_text(double x, double y, const std::string& text, const SvgTextStyle& style);

}  // namespace dunlin
