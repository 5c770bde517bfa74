// Layout: title and subtitle above, legend under them, the plot with ticks left and below.
#include "report/svg_chart.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <iterator>

#include "report/svg_text.h"

namespace dunlin {
namespace {

constexpr double kWidth = 720, kHeight = 440;
constexpr double kLeft = 78, kRight = 24, kTop = 92, kBottom = 56;
constexpr size_t kMostSeries = std::size(kChartColours);
constexpr double kCharacter = 6.6;  // width of a character at 12 units, sans-serif

// Values to lengths along one side of the plot.
class Scale {
 public:
  Scale(ChartScale kind, double low, double high, double from, double to)
      : kind_(kind), from_(from), to_(to) {
    if (kind == ChartScale::linear) {
      step_ = nice_step(high - low);
      low_ = std::floor(low / step_) * step_;
      high_ = std::max(low_ + step_, std::ceil(high / step_) * step_);
    } else {
      low_ = std::floor(power(low) + 1e-9);
      high_ = std::max(low_ + 1, std::ceil(power(high) - 1e-9));
      step_ = std::max(1.0, std::ceil((high_ - low_) / 12));
    }
  }

  bool shows(double value) const {
    return std::isfinite(value) && (kind_ == ChartScale::linear || value > 0);
  }
  double at(double value) const {
    const double place = kind_ == ChartScale::linear ? value : power(value);
    return from_ + (to_ - from_) * std::clamp((place - low_) / (high_ - low_), 0.0, 1.0);
  }
  std::vector<double> ticks() const {
    std::vector<double> values;
    for (double place = low_; place <= high_ + step_ / 2; place += step_) {
      values.push_back(kind_ == ChartScale::linear ? place : std::pow(base(), place));
    }
    return values;
  }

 private:
  static double nice_step(double range) {
    const double rough = std::max(range, 1e-12) / 6;
    const double unit = std::pow(10.0, std::floor(std::log10(rough)));
    for (const double factor : {1.0, 2.0, 5.0}) {
      if (rough <= factor * unit) return factor * unit;
    }
    return 10 * unit;
  }
  double base() const { return kind_ == ChartScale::log2 ? 2 : 10; }
  double power(double value) const { return std::log(value) / std::log(base()); }

  ChartScale kind_;
  double from_, to_, low_ = 0, high_ = 1, step_ = 1;
};

struct Range {
  double low = INFINITY;
  double high = -INFINITY;

  void add(double value) {
    if (!std::isfinite(value)) return;
    low = std::min(low, value);
    high = std::max(high, value);
  }
};

class Drawing {
 public:
  explicit Drawing(const Chart& chart)
      : chart_(chart),
        x_(chart.x.scale, x_range().low, x_range().high, kLeft, kWidth - kRight),
        y_(chart.y.scale, y_range().low, y_range().high, kHeight - kBottom, kTop) {}

  std::string draw() {
    open();
    grid();
    chart_.stacked ? areas() : lines();
    limits();
    legend();
    return text_ + "</svg>\n";
  }

 private:
  size_t count() const { return std::min(chart_.series.size(), kMostSeries); }

  Range x_range() const {
    Range range;
    for (const ChartSeries& series : chart_.series) {
      for (const ChartPoint& point : series.points) {
        if (chart_.x.scale == ChartScale::linear || point.x > 0) range.add(point.x);
      }
    }
    return usable(range);
  }
  Range y_range() const {
    Range range;
    if (chart_.y.scale == ChartScale::linear) range.add(0);
    for (const ChartLimit& limit : chart_.across) range.add(limit.value);
    for (const ChartSeries& series : chart_.series) {
      for (size_t i = 0; i < series.points.size(); ++i) {
        const double y = chart_.stacked ? stack(count(), i) : series.points[i].y;
        if (chart_.y.scale == ChartScale::linear || y > 0) range.add(y);
      }
    }
    return usable(range);
  }
  static Range usable(Range range) {
    if (range.low > range.high) return {1, 2};
    if (range.low == range.high) range.high = range.low == 0 ? 1 : range.low * 2;
    return range;
  }
  // Sum of the first `series` series at their point number `i`.
  double stack(size_t series, size_t i) const {
    double sum = 0;
    for (size_t s = 0; s < series; ++s) {
      if (i < chart_.series[s].points.size()) sum += chart_.series[s].points[i].y;
    }
    return sum;
  }

  template <typename... Arguments>
  void add(fmt::format_string<Arguments...> format, Arguments&&... arguments) {
    text_ += fmt::format(format, std::forward<Arguments>(arguments)...);
  }
  void label(double x, double y, const char* anchor, int size, const std::string& text,
             const char* colour = "#222222", const char* weight = "normal") {
    text_ += svg_text(x, y, text, {anchor, size, colour, weight});
  }

  void open() {
    add("<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {0} {1}\" width=\"{0}\" "
        "height=\"{1}\" font-family=\"Helvetica, Arial, sans-serif\" role=\"img\">\n"
        "<title>{2}</title>\n<rect width=\"{0}\" height=\"{1}\" fill=\"#ffffff\"/>\n",
        kWidth, kHeight, svg_escaped(chart_.title));
    label(kLeft, 28, "start", 17, chart_.title, "#111111", "bold");
    label(kLeft, 48, "start", 12, chart_.subtitle, "#555555");
  }

  void grid() {
    const double bottom = kHeight - kBottom;
    for (const double tick : y_.ticks()) {
      add("<line x1=\"{}\" x2=\"{}\" y1=\"{:.1f}\" y2=\"{:.1f}\" stroke=\"#dddddd\"/>\n", kLeft,
          kWidth - kRight, y_.at(tick), y_.at(tick));
      label(kLeft - 8, y_.at(tick) + 4, "end", 12, short_number(tick));
    }
    for (const double tick : x_.ticks()) {
      add("<line x1=\"{0:.1f}\" x2=\"{0:.1f}\" y1=\"{1}\" y2=\"{2}\" stroke=\"#888888\"/>\n",
          x_.at(tick), bottom, bottom + 5);
      label(x_.at(tick), bottom + 20, "middle", 12, tick_name(tick));
    }
    add("<line x1=\"{0}\" x2=\"{1}\" y1=\"{2}\" y2=\"{2}\" stroke=\"#444444\"/>\n", kLeft,
        kWidth - kRight, bottom);
    label((kLeft + kWidth - kRight) / 2, kHeight - 14, "middle", 13, chart_.x.label);
    add("<text transform=\"translate(20 {:.1f}) rotate(-90)\" text-anchor=\"middle\" "
        "font-size=\"13\" fill=\"#222222\">{}</text>\n",
        (kTop + bottom) / 2, svg_escaped(chart_.y.label));
  }

  // Sizes on a scale of two are counted in 1024.
  std::string tick_name(double tick) const {
    if (chart_.x.scale != ChartScale::log2 || tick < 1024) return short_number(tick);
    return tick < 1024 * 1024 ? fmt::format("{:g}Ki", tick / 1024)
                              : fmt::format("{:g}Mi", tick / 1024 / 1024);
  }

  void lines() {
    for (size_t s = 0; s < count(); ++s) {
      std::string path;
      std::string marks;
      for (const ChartPoint& point : chart_.series[s].points) {
        if (!x_.shows(point.x) || !y_.shows(point.y)) continue;
        const double x = x_.at(point.x);
        const double y = y_.at(point.y);
        path += fmt::format("{}{:.1f} {:.1f}", path.empty() ? "M" : " L", x, y);
        marks += mark(s, x, y);
      }
      add("<path d=\"{}\" fill=\"none\" stroke=\"{}\" stroke-width=\"2.2\"{}/>\n{}", path,
          kChartColours[s], chart_.series[s].dashed ? " stroke-dasharray=\"7 5\"" : "", marks);
    }
  }

  // A circle, square, triangle or diamond.
  static std::string mark(size_t series, double x, double y) {
    const char* colour = kChartColours[series];
    switch (series % 4) {
      case 0:
        return fmt::format("<circle cx=\"{:.1f}\" cy=\"{:.1f}\" r=\"3.4\" fill=\"{}\"/>\n", x, y,
                           colour);
      case 1:
        return fmt::format(
            "<rect x=\"{:.1f}\" y=\"{:.1f}\" width=\"6.4\" height=\"6.4\" fill=\"{}\"/>\n", x - 3.2,
            y - 3.2, colour);
      case 2:
        return fmt::format("<path d=\"M{:.1f} {:.1f} l4 7.4 h-8 z\" fill=\"{}\"/>\n", x, y - 4.4,
                           colour);
      default:
        return fmt::format(
            "<path d=\"M{:.1f} {:.1f} l4.4 4.4 l-4.4 4.4 l-4.4 -4.4 z\" "
            "fill=\"{}\"/>\n",
            x, y - 4.4, colour);
    }
  }

  void areas() {
    for (size_t s = 0; s < count(); ++s) {
      const std::vector<ChartPoint>& points = chart_.series[s].points;
      std::string upper;
      std::string lower;
      for (size_t i = 0; i < points.size(); ++i) {
        if (!x_.shows(points[i].x)) continue;
        const double x = x_.at(points[i].x);
        upper +=
            fmt::format("{}{:.1f} {:.1f}", upper.empty() ? "M" : " L", x, y_.at(stack(s + 1, i)));
        lower = fmt::format(" L{:.1f} {:.1f}", x, y_.at(stack(s, i))) + lower;
      }
      if (upper.empty()) continue;
      add("<path d=\"{}{} z\" fill=\"{}\" fill-opacity=\"0.85\" stroke=\"#ffffff\" "
          "stroke-width=\"1\"/>\n",
          upper, lower, kChartColours[s]);
    }
  }

  void limits() {
    for (const ChartLimit& limit : chart_.across) {
      if (!y_.shows(limit.value)) continue;
      const double y = y_.at(limit.value);
      add("<line x1=\"{0}\" x2=\"{1}\" y1=\"{2:.1f}\" y2=\"{2:.1f}\" stroke=\"#000000\" "
          "stroke-width=\"1.6\" stroke-dasharray=\"3 3\"/>\n",
          kLeft, kWidth - kRight, y);
      label(kLeft + 6, y - 5, "start", 12, limit.name, "#000000");
    }
    for (const ChartLimit& limit : chart_.upright) {
      if (!x_.shows(limit.value)) continue;
      const double x = x_.at(limit.value);
      add("<line x1=\"{0:.1f}\" x2=\"{0:.1f}\" y1=\"{1}\" y2=\"{2}\" stroke=\"#000000\" "
          "stroke-width=\"1.6\" stroke-dasharray=\"3 3\"/>\n",
          x, kTop, kHeight - kBottom);
      const bool right = x > (kLeft + kWidth - kRight) / 2;
      label(x + (right ? -6 : 6), kTop + 14, right ? "end" : "start", 12, limit.name, "#000000");
    }
  }

  void legend() {
    double x = kLeft;
    for (size_t s = 0; s < count(); ++s) {
      if (chart_.stacked) {
        add("<rect x=\"{:.1f}\" y=\"62\" width=\"14\" height=\"12\" fill=\"{}\" "
            "fill-opacity=\"0.85\"/>\n",
            x, kChartColours[s]);
      } else {
        add("<line x1=\"{:.1f}\" x2=\"{:.1f}\" y1=\"68\" y2=\"68\" stroke=\"{}\" "
            "stroke-width=\"2.2\"{}/>\n{}",
            x, x + 22, kChartColours[s], chart_.series[s].dashed ? " stroke-dasharray=\"7 5\"" : "",
            mark(s, x + 11, 68));
      }
      const double text = x + (chart_.stacked ? 20 : 28);
      label(text, 72, "start", 12, chart_.series[s].name);
      x = text + kCharacter * static_cast<double>(chart_.series[s].name.size()) + 18;
    }
  }

  const Chart& chart_;
  Scale x_;
  Scale y_;
  std::string text_;
};

}  // namespace

std::string svg_chart(const Chart& chart) {
  return Drawing(chart).draw();
}

std::string short_number(double value) {
  constexpr const char* kPrefixes[] = {"", "k", "M", "G", "T", "P"};
  double scaled = value;
  size_t prefix = 0;
  while (std::abs(scaled) >= 999.5 && prefix + 1 < std::size(kPrefixes)) {
    scaled /= 1000;
    ++prefix;
  }
  const std::string digits = fmt::format("{:.3g}", scaled);
  return prefix == 0 ? digits : fmt::format("{} {}", digits, kPrefixes[prefix]);
}

}  // namespace dunlin
