#include "eval/report/heat_map.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "base/fail.h"

namespace thinkey::eval {
namespace {

constexpr double kCharacter = 6.3;  // about, of an 11 px sans-serif
constexpr double kWidest = 1100.0;
constexpr double kTitle = 30.0, kPanelTitle = 22.0, kBelow = 40.0, kLegend = 46.0;

std::size_t longest(const std::vector<std::string>& labels) {
  std::size_t most = 0;
  for (const std::string& label : labels) most = std::max(most, label.size());
  return most;
}

struct Layout {
  double cell_width, cell_height, left, panel_width, panel_height;
  std::size_t per_row;
  bool numbers;       // there is room for a cell's value
  std::size_t every;  // labels of every so many columns
  std::size_t every_row;
};

Layout plan(const HeatMap& map) {
  const auto columns = static_cast<double>(map.columns.size());
  const auto rows = static_cast<double>(map.rows.size());
  Layout out{};
  out.left = 34.0 + kCharacter * static_cast<double>(longest(map.rows));
  out.cell_width = std::clamp(420.0 / columns, 3.0, 46.0);
  out.cell_height = std::clamp(300.0 / rows, 3.0, 24.0);
  // The titles of the axes need their length, however few the cells.
  out.cell_width =
      std::max(out.cell_width, kCharacter * static_cast<double>(map.column_title.size()) / columns);
  out.cell_height = std::max(out.cell_height, kCharacter * static_cast<double>(map.row_title.size()) / rows);
  out.numbers = out.cell_width >= 30.0 && out.cell_height >= 14.0;
  std::size_t title = 0;
  for (const HeatMap::Panel& panel : map.panels) title = std::max(title, panel.title.size());
  out.panel_width = std::max(out.left + out.cell_width * columns + 20.0,
                             kCharacter * 1.3 * static_cast<double>(title) + 20.0);
  out.panel_height = kPanelTitle + out.cell_height * rows + kBelow;
  out.per_row = std::clamp(static_cast<std::size_t>(kWidest / out.panel_width), std::size_t{1},
                           std::max<std::size_t>(1, map.panels.size()));
  const double label = kCharacter * static_cast<double>(longest(map.columns)) + 4.0;
  out.every = std::max<std::size_t>(1, static_cast<std::size_t>(std::ceil(label / out.cell_width)));
  out.every_row = std::max<std::size_t>(1, static_cast<std::size_t>(std::ceil(12.0 / out.cell_height)));
  return out;
}

std::string cell(const HeatMap& map, const Layout& at, const HeatMap::Panel& panel, std::size_t row,
                 std::size_t column, double x, double y) {
  const double value = panel.values[row * map.columns.size() + column];
  if (std::isnan(value)) {
    return fmt::format(
        "<rect class=\"missing\" x=\"{:.1f}\" y=\"{:.1f}\" width=\"{:.1f}\" height=\"{:.1f}\" fill=\"none\" "
        "stroke=\"#ccc\"/>\n",
        x, y, at.cell_width, at.cell_height);
  }
  const double share = (value - map.low) / (map.high - map.low);
  const std::string shown = fmt::format("{:.{}f}", value * map.shown, map.decimals);
  std::string svg = fmt::format(
      "<rect class=\"cell\" data-row=\"{}\" data-column=\"{}\" data-value=\"{}\" x=\"{:.1f}\" y=\"{:.1f}\" "
      "width=\"{:.1f}\" height=\"{:.1f}\" fill=\"{}\"{}><title>{}: {} {}, {} {}: {}</title></rect>\n",
      escape_xml(map.rows[row]), escape_xml(map.columns[column]), exact_number(value), x, y, at.cell_width,
      at.cell_height, scale_colour(map.scale, share), at.numbers ? " stroke=\"white\"" : "",
      escape_xml(panel.title), escape_xml(map.row_title), escape_xml(map.rows[row]),
      escape_xml(map.column_title), escape_xml(map.columns[column]), exact_number(value));
  if (at.numbers) {
    svg += fmt::format("<text x=\"{:.1f}\" y=\"{:.1f}\" text-anchor=\"middle\"{}>{}</text>\n",
                       x + at.cell_width / 2.0, y + at.cell_height / 2.0 + 4.0,
                       is_dark(map.scale, share) ? " fill=\"white\"" : "", shown);
  }
  return svg;
}

std::string panel_svg(const HeatMap& map, const Layout& at, const HeatMap::Panel& panel, double x, double y) {
  const double left = x + at.left;
  const double top = y + kPanelTitle;
  const double width = at.cell_width * static_cast<double>(map.columns.size());
  const double height = at.cell_height * static_cast<double>(map.rows.size());
  std::string svg = fmt::format(
      "<g class=\"panel\" data-title=\"{0}\">\n<text x=\"{1:.1f}\" y=\"{2:.1f}\" "
      "font-size=\"12\" font-weight=\"bold\">{0}</text>\n",
      escape_xml(panel.title), x + 4.0, y + 14.0);
  for (std::size_t row = 0; row < map.rows.size(); ++row) {
    const double cell_y = top + at.cell_height * static_cast<double>(row);
    if (row % at.every_row == 0) {
      svg += fmt::format("<text x=\"{:.1f}\" y=\"{:.1f}\" text-anchor=\"end\">{}</text>\n", left - 5.0,
                         cell_y + at.cell_height / 2.0 + 4.0, escape_xml(map.rows[row]));
    }
    for (std::size_t column = 0; column < map.columns.size(); ++column) {
      svg += cell(map, at, panel, row, column, left + at.cell_width * static_cast<double>(column), cell_y);
    }
  }
  for (std::size_t column = 0; column < map.columns.size(); column += at.every) {
    svg += fmt::format("<text x=\"{:.1f}\" y=\"{:.1f}\" text-anchor=\"middle\">{}</text>\n",
                       left + at.cell_width * (static_cast<double>(column) + 0.5), top + height + 13.0,
                       escape_xml(map.columns[column]));
  }
  svg += fmt::format("<text x=\"{:.1f}\" y=\"{:.1f}\" text-anchor=\"middle\">{}</text>\n", left + width / 2.0,
                     top + height + 27.0, escape_xml(map.column_title));
  svg += fmt::format(
      "<text transform=\"translate({:.1f} {:.1f}) rotate(-90)\" text-anchor=\"middle\">{}</text>\n</g>\n",
      x + 14.0, top + height / 2.0, escape_xml(map.row_title));
  return svg;
}

std::string legend(const HeatMap& map, double y) {
  constexpr int kSteps = 40;
  constexpr double kStep = 5.0;
  std::string svg;
  for (int i = 0; i < kSteps; ++i) {
    svg += fmt::format("<rect x=\"{:.1f}\" y=\"{:.1f}\" width=\"{:.1f}\" height=\"12\" fill=\"{}\"/>",
                       60.0 + kStep * i, y, kStep + 0.5, scale_colour(map.scale, (i + 0.5) / kSteps));
  }
  svg += fmt::format(
      "\n<text x=\"54\" y=\"{0:.1f}\" text-anchor=\"end\">{1:.4g}</text><text x=\"{2:.1f}\" "
      "y=\"{0:.1f}\">{3:.4g}</text>\n",
      y + 10.0, map.low * map.shown, 66.0 + kStep * kSteps, map.high * map.shown);
  return svg;
}

}  // namespace

std::string heat_map_svg(const HeatMap& map) {
  for (const HeatMap::Panel& panel : map.panels) {
    if (panel.values.size() != map.rows.size() * map.columns.size() || panel.values.empty()) {
      fail_usage("heat map \"{}\": panel \"{}\" has {} values for {} rows and {} columns", map.title,
                 panel.title, panel.values.size(), map.rows.size(), map.columns.size());
    }
  }
  if (!(map.low < map.high)) {
    fail_usage("heat map \"{}\": the scale from {} to {} is empty", map.title, map.low, map.high);
  }
  const Layout at = plan(map);
  const std::size_t lines = (map.panels.size() + at.per_row - 1) / at.per_row;
  const double width = std::max(
      {at.panel_width * static_cast<double>(at.per_row), 320.0, 9.0 * static_cast<double>(map.title.size())});
  const double height = kTitle + at.panel_height * static_cast<double>(lines) + kLegend;
  std::string svg = fmt::format(
      "<svg xmlns=\"http://www.w3.org/2000/svg\" class=\"heat-map\" width=\"{0:.0f}\" height=\"{1:.0f}\" "
      "viewBox=\"0 0 {0:.0f} {1:.0f}\" font-family=\"sans-serif\" font-size=\"11\">\n"
      "<rect width=\"100%\" height=\"100%\" fill=\"white\"/>\n<text x=\"4\" y=\"19\" "
      "font-size=\"15\">{2}</text>\n",
      width, height, escape_xml(map.title));
  for (std::size_t i = 0; i < map.panels.size(); ++i) {
    const std::size_t column = i % at.per_row;
    const std::size_t row = i / at.per_row;
    svg += panel_svg(map, at, map.panels[i], at.panel_width * static_cast<double>(column),
                     kTitle + at.panel_height * static_cast<double>(row));
  }
  return svg + legend(map, height - kLegend + 16.0) + "</svg>\n";
}

}  // namespace thinkey::eval
