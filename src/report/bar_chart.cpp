// Layout: title, subtitle and legend above, a row of 24 units for each bar, ticks below.
#include "report/bar_chart.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <iterator>
#include <utility>

#include "report/svg_text.h"

namespace dunlin {
namespace {

constexpr double kBarChartWidth = 720;
constexpr double kNameRoom = 196, kLabelRoom = 92;  // room for names and for labels
constexpr double kHeadRoom = 92, kTickRoom = 56;
constexpr double kRow = 24, kBar = 16;
constexpr double kNameCharacter = 6.6;  // width of a character at 12 units, sans-serif

bool has_bar(const Bar& bar) {
  return std::isfinite(bar.value) && bar.value > 0;
}

class BarDrawing {
 public:
  explicit BarDrawing(const BarChart& chart)
      : chart_(chart),
        bottom_(kHeadRoom + kRow * static_cast<double>(chart.bars.size())),
        logarithmic_(chart.x.scale != ChartScale::linear) {
    double least = INFINITY;
    double most = 0;
    for (const Bar& bar : chart.bars) {
      if (!has_bar(bar)) continue;
      least = std::min(least, bar.value);
      most = std::max(most, bar.value);
    }
    if (most == 0) least = most = 1;
    low_ = logarithmic_ ? std::floor(std::log10(least)) : 0;
    high_ = logarithmic_ ? std::max(low_ + 1, std::ceil(std::log10(most))) : most;
  }

  std::string draw() {
    open();
    ticks();
    for (size_t i = 0; i < chart_.bars.size(); ++i) bar(i);
    legend();
    return text_ + "</svg>\n";
  }

 private:
  double at(double value) const {
    const double place = logarithmic_ ? std::log10(value) : value;
    return kNameRoom + (kBarChartWidth - kLabelRoom - kNameRoom) *
                           std::clamp((place - low_) / (high_ - low_), 0.0, 1.0);
  }

  template <typename... Arguments>
  void add(fmt::format_string<Arguments...> format, Arguments&&... arguments) {
    text_ += fmt::format(format, std::forward<Arguments>(arguments)...);
  }

  void open() {
    add("<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {0} {1}\" width=\"{0}\" "
        "height=\"{1}\" font-family=\"Helvetica, Arial, sans-serif\" role=\"img\">\n"
        "<title>{2}</title>\n<rect width=\"{0}\" height=\"{1}\" fill=\"#ffffff\"/>\n",
        kBarChartWidth, bottom_ + kTickRoom, svg_escaped(chart_.title));
    text_ += svg_text(20, 28, chart_.title, {.size = 17, .colour = "#111111", .weight = "bold"});
    text_ += svg_text(20, 48, chart_.subtitle, {.colour = "#555555"});
  }

  std::vector<double> tick_values() const {
    std::vector<double> values;
    if (logarithmic_) {
      for (double power = low_; power <= high_ + 0.5; power += 1)
        values.push_back(std::pow(10.0, power));
    } else {
      for (int i = 0; i <= 4; ++i) values.push_back(high_ * i / 4);
    }
    return values;
  }

  void ticks() {
    for (const double value : tick_values()) {
      add("<line x1=\"{0:.1f}\" x2=\"{0:.1f}\" y1=\"{1}\" y2=\"{2}\" stroke=\"#dddddd\"/>\n",
          at(value), kHeadRoom, bottom_);
      text_ += svg_text(at(value), bottom_ + 18, short_number(value), {.anchor = "middle"});
    }
    text_ += svg_text((kNameRoom + kBarChartWidth - kLabelRoom) / 2, bottom_ + 42, chart_.x.label,
                      {.anchor = "middle", .size = 13});
  }

  const char* colour(size_t kind) const {
    return kChartColours[std::min(kind, std::size(kChartColours) - 1)];
  }

  void bar(size_t number) {
    const Bar& each = chart_.bars[number];
    const double y = kHeadRoom + kRow * static_cast<double>(number) + (kRow - kBar) / 2;
    const double end = has_bar(each) ? at(each.value) : kNameRoom;
    if (has_bar(each)) {
      add("<rect x=\"{}\" y=\"{:.1f}\" width=\"{:.1f}\" height=\"{}\" fill=\"{}\"/>\n", kNameRoom,
          y, std::max(end - kNameRoom, 1.0), kBar, colour(each.kind));
    }
    text_ += svg_text(kNameRoom - 8, y + 12, each.name, {.anchor = "end"});
    text_ += svg_text(end + 6, y + 12, each.label, {});
  }

  void legend() {
    double x = 20;
    for (size_t kind = 0; kind < chart_.kinds.size(); ++kind) {
      add("<rect x=\"{:.1f}\" y=\"62\" width=\"14\" height=\"12\" fill=\"{}\"/>\n", x,
          colour(kind));
      text_ += svg_text(x + 20, 72, chart_.kinds[kind], {});
      x += 20 + kNameCharacter * static_cast<double>(chart_.kinds[kind].size()) + 18;
    }
  }

  const BarChart& chart_;
  double bottom_;
  bool logarithmic_;
  double low_ = 0;  // of the axis: values, or powers of ten
  double high_ = 1;
  std::string text_;
};

}  // namespace

std::string svg_bars(const BarChart& chart) {
  return BarDrawing(chart).draw();
}

}  // namespace dunlin
