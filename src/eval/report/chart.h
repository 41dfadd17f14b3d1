// Points and lines over two axes, as inline SVG.
#pragma once

#include <string>
#include <vector>

namespace thinkey::eval {

struct Chart {
  struct Point {
    double x = 0.0, y = 0.0;  // NaN: left out
    std::string label;        // shown when the pointer rests on it
  };
  struct Series {
    std::string name;
    std::vector<Point> points;
    bool joined = true;  // by a line, in order of x
  };
  std::string title, x_title, y_title;
  std::vector<Series> series;
  bool log_x = false, log_y = false;
  double least_y = 1e-6;  // on a logarithmic axis smaller values are drawn here
};

// Every point is a circle with class "point" and data-x, data-y attributes.
[[nodiscard]] std::string chart_svg(const Chart& chart);

}  // namespace thinkey::eval
