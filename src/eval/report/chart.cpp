#include "eval/report/chart.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <limits>

#include "eval/report/svg.h"

namespace thinkey::eval {
namespace {

constexpr double kWidth = 900, kLeft = 72, kTop = 40, kBottom = 52, kLine = 18;

// The axis that holds `values` with some air around them.
Axis fit(const std::vector<double>& values, bool logarithmic, double from, double to) {
  Axis axis{.low = 0.0, .high = 1.0, .from = from, .to = to, .logarithmic = logarithmic};
  if (!values.empty()) {
    const auto [low, high] = std::minmax_element(values.begin(), values.end());
    if (logarithmic) {
      axis.low = *low * 0.85;
      axis.high = *high * 1.18;
    } else {
      const double air = *high > *low ? 0.05 * (*high - *low) : std::max(0.5, std::abs(*low) * 0.1);
      axis.low = *low >= 0.0 && *low < 0.3 * *high ? 0.0 : *low - air;
      axis.high = *high + air;
    }
  } else if (logarithmic) {
    axis.low = 0.1;
  }
  return axis;
}

bool drawable(const Chart& chart, const Chart::Point& point) {
  return std::isfinite(point.x) && std::isfinite(point.y) && (!chart.log_x || point.x > 0.0);
}

double drawn_y(const Chart& chart, double y) { return chart.log_y ? std::max(y, chart.least_y) : y; }

std::string grid(const Axis& x, const Axis& y) {
  std::string svg;
  for (const double tick : x.ticks()) {
    svg += fmt::format(
        "<line x1=\"{0:.1f}\" x2=\"{0:.1f}\" y1=\"{1}\" y2=\"{2}\" stroke=\"#ddd\"/>"
        "<text x=\"{0:.1f}\" y=\"{3}\" text-anchor=\"middle\">{4:g}</text>\n",
        x.place(tick), y.to, y.from, y.from + 18, tick);
  }
  for (const double tick : y.ticks()) {
    svg += fmt::format(
        "<line x1=\"{1}\" x2=\"{2}\" y1=\"{0:.1f}\" y2=\"{0:.1f}\" stroke=\"#ddd\"/>"
        "<text x=\"{3}\" y=\"{4:.1f}\" text-anchor=\"end\">{5:g}</text>\n",
        y.place(tick), x.from, x.to, x.from - 6, y.place(tick) + 4, tick);
  }
  return svg;
}

std::string series_svg(const Chart& chart, const Chart::Series& series, std::size_t index, const Axis& x,
                       const Axis& y) {
  std::vector<Chart::Point> points;
  std::copy_if(series.points.begin(), series.points.end(), std::back_inserter(points),
               [&](const Chart::Point& p) { return drawable(chart, p); });
  std::stable_sort(points.begin(), points.end(),
                   [](const Chart::Point& a, const Chart::Point& b) { return a.x < b.x; });
  const std::string_view colour = series_colour(index);
  std::string line;
  std::string svg = fmt::format("<g class=\"series\" data-name=\"{}\">\n", escape_xml(series.name));
  for (const Chart::Point& p : points) {
    const double at_x = x.place(p.x);
    const double at_y = y.place(drawn_y(chart, p.y));
    line += fmt::format("{:.1f},{:.1f} ", at_x, at_y);
    svg += fmt::format(
        "<circle class=\"point\" data-x=\"{}\" data-y=\"{}\" cx=\"{:.1f}\" cy=\"{:.1f}\" r=\"4\" "
        "fill=\"{}\"><title>{}: {:.4g}, {:.4g}</title></circle>\n",
        exact_number(p.x), exact_number(p.y), at_x, at_y, colour,
        escape_xml(p.label.empty() ? series.name : p.label), p.x, p.y);
  }
  if (series.joined && points.size() > 1) {
    svg += fmt::format("<polyline points=\"{}\" fill=\"none\" stroke=\"{}\"/>\n", line, colour);
  }
  return svg + "</g>\n";
}

}  // namespace

std::string chart_svg(const Chart& chart) {
  std::size_t longest = 0;
  std::vector<double> xs;
  std::vector<double> ys;
  for (const Chart::Series& series : chart.series) {
    longest = std::max(longest, series.name.size());
    for (const Chart::Point& point : series.points) {
      if (!drawable(chart, point)) continue;
      xs.push_back(point.x);
      ys.push_back(drawn_y(chart, point.y));
    }
  }
  const double right = std::max(60.0, 40.0 + 6.8 * static_cast<double>(longest));
  const double height =
      std::max(460.0, kTop + kBottom + kLine * static_cast<double>(chart.series.size() + 1));
  const double width = kWidth + std::max(0.0, right - 300.0);
  const Axis x = fit(xs, chart.log_x, kLeft, width - right);
  const Axis y = fit(ys, chart.log_y, height - kBottom, kTop);
  std::string svg = fmt::format(
      "<svg xmlns=\"http://www.w3.org/2000/svg\" class=\"chart\" width=\"{0:.0f}\" height=\"{1:.0f}\" "
      "viewBox=\"0 0 {0:.0f} {1:.0f}\" font-family=\"sans-serif\" font-size=\"12\">\n"
      "<rect width=\"100%\" height=\"100%\" fill=\"white\"/>\n<text x=\"{2}\" y=\"22\" "
      "font-size=\"15\">{3}</text>\n",
      width, height, kLeft, escape_xml(chart.title));
  svg += grid(x, y);
  svg += fmt::format("<text x=\"{:.1f}\" y=\"{:.1f}\" text-anchor=\"middle\">{}</text>\n",
                     (x.from + x.to) / 2, height - 12, escape_xml(chart.x_title));
  svg +=
      fmt::format("<text transform=\"translate(16 {:.1f}) rotate(-90)\" text-anchor=\"middle\">{}</text>\n",
                  (y.from + y.to) / 2, escape_xml(chart.y_title));
  for (std::size_t i = 0; i < chart.series.size(); ++i) {
    svg += series_svg(chart, chart.series[i], i, x, y);
    const double legend = kTop + 10 + kLine * static_cast<double>(i);
    svg += fmt::format(
        "<circle cx=\"{:.1f}\" cy=\"{:.1f}\" r=\"4\" fill=\"{}\"/><text x=\"{:.1f}\" "
        "y=\"{:.1f}\">{}</text>\n",
        x.to + 16, legend, series_colour(i), x.to + 26, legend + 4, escape_xml(chart.series[i].name));
  }
  return svg + "</svg>\n";
}

}  // namespace thinkey::eval
