// A scatter plot as a self-contained SVG.
#pragma once

#include <string>
#include <vector>

namespace thinkey::bench {

struct Point {
  std::string family;  // points of a family share a colour and are joined by a line
  std::string label;
  double x = 0.0;  // percent of the full cache's bytes, drawn on a logarithmic axis
  double y = 0.0;  // mean KL divergence, nats, drawn on a logarithmic axis; smaller is better
};

[[nodiscard]] std::string plot_svg(const std::string& title, const std::vector<Point>& points);

}  // namespace thinkey::bench
