// Bars: their lengths, what is written beside them, and that they are whole documents.
#include "report/bar_chart.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <regex>
#include <string>
#include <vector>

namespace dunlin {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::Not;

BarChart three_bars(ChartScale scale) {
  return {.title = "Speed <1 & 2>",
          .subtitle = "a \"test\"",
          .x = {"times", scale},
          .kinds = {"alone", "all"},
          .bars = {{.name = "none", .value = 1, .label = "1x"},
                   {.name = "some", .value = 10, .label = "10x"},
                   {.name = "every", .value = 100, .label = "100x", .kind = 1}}};
}

// Of the bars; those of the legend are 14 wide and have another height.
std::vector<double> widths_of(const std::string& svg) {
  const std::regex bar("<rect x=\"[0-9.]+\" y=\"[0-9.]+\" width=\"([0-9.]+)\" height=\"16\"");
  std::vector<double> widths;
  for (auto it = std::sregex_iterator(svg.begin(), svg.end(), bar); it != std::sregex_iterator();
       ++it)
    widths.push_back(std::stod((*it)[1]));
  return widths;
}

TEST(SvgBars, AreAsLongAsTheirValues) {
  const auto linear = widths_of(svg_bars(three_bars(ChartScale::linear)));
  ASSERT_EQ(linear.size(), 3u);
  EXPECT_NEAR(linear[1], linear[2] / 10, 0.2);
  EXPECT_NEAR(linear[0], linear[2] / 100, 0.2);
  // From 1 to 100 in powers of ten; the smallest bar is still to be seen.
  const auto logarithmic = widths_of(svg_bars(three_bars(ChartScale::log10)));
  ASSERT_EQ(logarithmic.size(), 3u);
  EXPECT_EQ(logarithmic[0], 1.0);
  EXPECT_NEAR(logarithmic[1], logarithmic[2] / 2, 0.2);
}

TEST(SvgBars, NamesLabelsAndColours) {
  const std::string svg = svg_bars(three_bars(ChartScale::log10));
  EXPECT_TRUE(svg.starts_with("<svg xmlns=\"http://www.w3.org/2000/svg\""));
  EXPECT_TRUE(svg.ends_with("</svg>\n"));
  for (const char* text : {"Speed &lt;1 &amp; 2&gt;", "a &quot;test&quot;", ">none<", ">every<",
                           ">100x<", ">alone<", ">all<", ">times<", "#0072B2", "#E69F00"})
    EXPECT_THAT(svg, HasSubstr(text));
  EXPECT_THAT(svg, Not(HasSubstr("href")));
}

TEST(SvgBars, WhatHasNoLengthHasALabelAlone) {
  const std::string svg = svg_bars({.title = "nothing",
                                    .bars = {{.name = "no", .value = NAN, .label = "unknown"},
                                             {.name = "zero", .value = 0, .label = "0 B"},
                                             {.name = "two", .value = 2, .label = "2 B"}}});
  EXPECT_EQ(widths_of(svg).size(), 1u);
  EXPECT_THAT(svg, HasSubstr(">unknown<"));
  EXPECT_THAT(svg, HasSubstr(">0 B<"));
  EXPECT_THAT(svg, Not(HasSubstr("nan")));
  EXPECT_THAT(widths_of(svg_bars({})), ElementsAre());
}

}  // namespace
}  // namespace dunlin
