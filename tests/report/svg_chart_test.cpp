// Charts: what they show, and that they are whole documents.
#include "report/svg_chart.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <regex>

namespace dunlin {
namespace {

using testing::HasSubstr;
using testing::Not;

Chart two_lines() {
  return {.title = "Speed <1 & 2>",
          .subtitle = "a \"test\"",
          .x = {"batch", ChartScale::log2},
          .y = {"tokens", ChartScale::log10},
          .series = {{"best", {{1, 10}, {2, 100}, {4, 1000}}, true}, {"real", {{1, 5}, {4, 50}}}},
          .upright = {{"memory ends", 2}}};
}

// Every element is closed and no text holds a bare & or <.
void expect_well_formed(const std::string& svg) {
  std::vector<std::string> open;
  const std::regex tag("<(/?)([a-z]+)([^>]*)>");
  for (auto it = std::sregex_iterator(svg.begin(), svg.end(), tag); it != std::sregex_iterator();
       ++it) {
    const std::string name = (*it)[2];
    const std::string rest = (*it)[3];
    if ((*it)[1] == "/") {
      ASSERT_FALSE(open.empty());
      EXPECT_EQ(open.back(), name);
      open.pop_back();
    } else if (!rest.ends_with("/")) {
      open.push_back(name);
    }
  }
  EXPECT_TRUE(open.empty());
  EXPECT_FALSE(std::regex_search(svg, std::regex("&(?!amp;|lt;|gt;|quot;)")));
  EXPECT_THAT(svg, Not(HasSubstr("nan")));
  EXPECT_THAT(svg, Not(HasSubstr("inf")));
}

// The points of the first path of a colour.
std::vector<std::pair<double, double>> path_of(const std::string& svg, const std::string& colour) {
  std::smatch match;
  const std::regex path("<path d=\"([^\"]*)\" fill=\"none\" stroke=\"" + colour + "\"");
  std::vector<std::pair<double, double>> points;
  if (!std::regex_search(svg, match, path)) return points;
  const std::string d = match[1];
  const std::regex point("([0-9.]+) ([0-9.]+)");
  for (auto it = std::sregex_iterator(d.begin(), d.end(), point); it != std::sregex_iterator();
       ++it)
    points.emplace_back(std::stod((*it)[1]), std::stod((*it)[2]));
  return points;
}

TEST(SvgChart, IsAWholeDocumentWithEscapedText) {
  const std::string svg = svg_chart(two_lines());
  expect_well_formed(svg);
  EXPECT_TRUE(svg.starts_with("<svg xmlns=\"http://www.w3.org/2000/svg\""));
  EXPECT_THAT(svg, HasSubstr("Speed &lt;1 &amp; 2&gt;"));
  EXPECT_THAT(svg, HasSubstr("a &quot;test&quot;"));
  for (const char* text : {">best<", ">real<", ">batch<", ">tokens<", ">memory ends<"})
    EXPECT_THAT(svg, HasSubstr(text));
  EXPECT_THAT(svg, Not(HasSubstr("href")));
  EXPECT_THAT(svg, Not(HasSubstr("script")));
}

TEST(SvgChart, LogarithmicScalesAreEven) {
  const auto points = path_of(svg_chart(two_lines()), "#0072B2");
  ASSERT_EQ(points.size(), 3u);
  EXPECT_NEAR(points[1].first - points[0].first, points[2].first - points[1].first, 0.11);
  EXPECT_NEAR(points[1].second - points[0].second, points[2].second - points[1].second, 0.11);
  EXPECT_GT(points[0].second, points[2].second);  // y grows downwards
}

TEST(SvgChart, StackedAreasEndAtTheirSum) {
  Chart chart{.title = "memory",
              .x = {"context", ChartScale::log2},
              .y = {"GiB"},
              .series = {{"weights", {{1, 2}, {2, 2}}}, {"cache", {{1, 1}, {2, 3}}}},
              .stacked = true,
              .across = {{"capacity", 4}}};
  const std::string svg = svg_chart(chart);
  expect_well_formed(svg);
  // The second area begins where the first ends: their common points are equal.
  const std::regex area("<path d=\"M([0-9.]+) ([0-9.]+)[^z]* L([0-9.]+) ([0-9.]+) z\" fill=\"#");
  std::vector<std::smatch> areas;
  for (auto it = std::sregex_iterator(svg.begin(), svg.end(), area); it != std::sregex_iterator();
       ++it)
    areas.push_back(*it);
  ASSERT_EQ(areas.size(), 2u);
  EXPECT_EQ(areas[0][2].str(), areas[1][4].str());
  EXPECT_THAT(svg, HasSubstr(">capacity<"));
}

TEST(SvgChart, LeavesOutWhatCannotBeDrawn) {
  Chart chart = two_lines();
  chart.series[0].points.push_back({8, INFINITY});
  chart.series[0].points.push_back({16, -1});
  chart.series[0].points.push_back({0, 5});
  const std::string svg = svg_chart(chart);
  expect_well_formed(svg);
  EXPECT_EQ(path_of(svg, "#0072B2").size(), 3u);
  expect_well_formed(svg_chart({.title = "nothing", .series = {}}));
  expect_well_formed(svg_chart({.title = "one", .series = {{"point", {{1, 0}}}}}));
}

TEST(ShortNumber, HasThreeDigitsAndAPrefix) {
  EXPECT_EQ(short_number(0), "0");
  EXPECT_EQ(short_number(0.25), "0.25");
  EXPECT_EQ(short_number(999), "999");
  EXPECT_EQ(short_number(1500), "1.5 k");
  EXPECT_EQ(short_number(999999), "1 M");
  EXPECT_EQ(short_number(70.55e9), "70.5 G");
  EXPECT_EQ(short_number(1.97e14), "197 T");
}

}  // namespace
}  // namespace dunlin
