// A matrix of numbers as coloured cells, one panel beside the other, as inline SVG.
#pragma once

#include <cstddef>
#include <string>
#include <vector>

#include "eval/report/svg.h"

namespace thinkey::eval {

struct HeatMap {
  struct Panel {
    std::string title;
    std::vector<double> values;  // [rows, columns]; NaN: not measured, drawn empty
  };
  std::string title;
  std::string row_title, column_title;     // what the rows and columns are
  std::vector<std::string> rows, columns;  // their labels
  std::vector<Panel> panels;
  double low = 0.0, high = 1.0;  // values at the scale's ends; low < high
  ColourScale scale = ColourScale::Score;
  int decimals = 2;    // of the number written into a cell where there is room
  double shown = 1.0;  // cells show value * shown (100 for percent)
};

// Every measured cell is a rect with class "cell" and data-value, data-row, data-column attributes, and a
// title that says it all. Error(Usage) when a panel's size is not rows x columns.
[[nodiscard]] std::string heat_map_svg(const HeatMap& map);

}  // namespace thinkey::eval
