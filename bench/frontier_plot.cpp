#include "frontier_plot.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <map>

namespace thinkey::bench {
namespace {

constexpr double kWidth = 860, kHeight = 520, kLeft = 70, kRight = 190, kTop = 40, kBottom = 50;
constexpr std::array<const char*, 8> kColours = {"#1f77b4", "#d62728", "#2ca02c", "#9467bd",
                                                 "#ff7f0e", "#8c564b", "#17becf", "#7f7f7f"};

// A logarithmic axis over whole decades' 1-2-5 steps.
struct Axis {
  double low, high, from, to;
  [[nodiscard]] double place(double value) const {
    return from + (std::log(value) - std::log(low)) / (std::log(high) - std::log(low)) * (to - from);
  }
  [[nodiscard]] std::vector<double> ticks() const {
    std::vector<double> out;
    for (double decade = std::pow(10.0, std::floor(std::log10(low))); decade <= high; decade *= 10.0) {
      for (const double step : {1.0, 2.0, 5.0}) {
        if (decade * step >= low * 0.999 && decade * step <= high * 1.001) out.push_back(decade * step);
      }
    }
    return out;
  }
};

}  // namespace

std::string plot_svg(const std::string& title, const std::vector<Point>& points) {
  constexpr double kLeast = 1e-6;  // what has no divergence is drawn here
  Axis x{1e9, 0, kLeft, kWidth - kRight};
  Axis y{1e9, 0, kHeight - kBottom, kTop};
  std::map<std::string, std::vector<Point>> families;
  for (Point point : points) {
    point.y = std::max(point.y, kLeast);
    x.low = std::min(x.low, point.x * 0.9);
    x.high = std::max(x.high, point.x * 1.1);
    y.low = std::min(y.low, point.y * 0.7);
    y.high = std::max(y.high, point.y * 1.4);
    families[point.family].push_back(point);
  }
  std::string svg = fmt::format(
      "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{0}\" height=\"{1}\" viewBox=\"0 0 {0} {1}\" "
      "font-family=\"sans-serif\" font-size=\"12\">\n<rect width=\"{0}\" height=\"{1}\" fill=\"white\"/>\n"
      "<text x=\"{2}\" y=\"24\" font-size=\"15\">{3}</text>\n",
      kWidth, kHeight, kLeft, title);
  for (const double tick : x.ticks()) {
    svg += fmt::format(
        "<line x1=\"{0:.1f}\" x2=\"{0:.1f}\" y1=\"{1}\" y2=\"{2}\" stroke=\"#ddd\"/>"
        "<text x=\"{0:.1f}\" y=\"{3}\" text-anchor=\"middle\">{4:g}</text>\n",
        x.place(tick), kTop, kHeight - kBottom, kHeight - kBottom + 18, tick);
  }
  for (const double tick : y.ticks()) {
    svg += fmt::format(
        "<line x1=\"{1}\" x2=\"{2}\" y1=\"{0:.1f}\" y2=\"{0:.1f}\" stroke=\"#ddd\"/>"
        "<text x=\"{3}\" y=\"{4:.1f}\" text-anchor=\"end\">{5:g}</text>\n",
        y.place(tick), kLeft, kWidth - kRight, kLeft - 6, y.place(tick) + 4, tick);
  }
  svg +=
      fmt::format("<text x=\"{}\" y=\"{}\" text-anchor=\"middle\">cache bytes, percent of full f16</text>\n",
                  (kLeft + kWidth - kRight) / 2, kHeight - 12);
  svg += fmt::format(
      "<text transform=\"translate(16 {}) rotate(-90)\" text-anchor=\"middle\">mean KL from the full "
      "cache, nats</text>\n",
      (kTop + kHeight - kBottom) / 2);
  std::size_t index = 0;
  for (auto& [family, members] : families) {
    const char* colour = kColours[index % kColours.size()];
    std::sort(members.begin(), members.end(), [](const Point& a, const Point& b) { return a.x < b.x; });
    std::string line;
    for (const Point& p : members) {
      line += fmt::format("{:.1f},{:.1f} ", x.place(p.x), y.place(p.y));
      svg += fmt::format(
          "<circle cx=\"{:.1f}\" cy=\"{:.1f}\" r=\"4\" fill=\"{}\"><title>{}: {:.3g} %, {:.3g} nats</title>"
          "</circle>\n",
          x.place(p.x), y.place(p.y), colour, p.label, p.x, p.y);
    }
    svg += fmt::format("<polyline points=\"{}\" fill=\"none\" stroke=\"{}\"/>\n", line, colour);
    const double legend = kTop + 10 + 20 * static_cast<double>(index);
    svg += fmt::format("<circle cx=\"{}\" cy=\"{}\" r=\"4\" fill=\"{}\"/><text x=\"{}\" y=\"{}\">{}</text>\n",
                       kWidth - kRight + 16, legend, colour, kWidth - kRight + 26, legend + 4, family);
    ++index;
  }
  return svg + "</svg>\n";
}

}  // namespace thinkey::bench
