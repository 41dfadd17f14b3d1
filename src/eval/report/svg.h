// What all figures share: escaping, numbers, colours, axes.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

namespace thinkey::eval {

// Text safe inside XML and HTML, in attributes too.
[[nodiscard]] std::string escape_xml(std::string_view text);

// A figure as a number that parses back to the same double ("0.975"), for data-value attributes and JSON-like
// use; "" for NaN.
[[nodiscard]] std::string exact_number(double value);

// One of a fixed list of distinguishable colours.
[[nodiscard]] std::string_view series_colour(std::size_t index);

enum class ColourScale { Score, Magnitude };  // red over yellow to green; white to dark blue
// share in [0, 1], clamped.
[[nodiscard]] std::string scale_colour(ColourScale scale, double share);
// Whether text on that colour must be white to be read.
[[nodiscard]] bool is_dark(ColourScale scale, double share);

// A linear or logarithmic axis from value `low` at pixel `from` to value `high` at pixel `to`.
struct Axis {
  double low = 0.0, high = 1.0, from = 0.0, to = 1.0;
  bool logarithmic = false;

  [[nodiscard]] double place(double value) const;
  // Round values within the axis: 1-2-5 steps.
  [[nodiscard]] std::vector<double> ticks() const;
};

}  // namespace thinkey::eval
