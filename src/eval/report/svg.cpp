#include "eval/report/svg.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>

namespace thinkey::eval {
namespace {

using Rgb = std::array<double, 3>;

constexpr std::array<Rgb, 3> kScoreStops = {{{215, 48, 39}, {254, 224, 139}, {26, 152, 80}}};
constexpr std::array<Rgb, 3> kMagnitudeStops = {{{255, 255, 255}, {107, 174, 214}, {8, 48, 107}}};

Rgb mix(ColourScale scale, double share) {
  const auto& stops = scale == ColourScale::Score ? kScoreStops : kMagnitudeStops;
  const double at = std::clamp(share, 0.0, 1.0) * static_cast<double>(stops.size() - 1);
  const std::size_t left = std::min(static_cast<std::size_t>(at), stops.size() - 2);
  const double part = at - static_cast<double>(left);
  Rgb out{};
  for (std::size_t i = 0; i < 3; ++i) out[i] = stops[left][i] * (1.0 - part) + stops[left + 1][i] * part;
  return out;
}

}  // namespace

std::string escape_xml(std::string_view text) {
  std::string out;
  out.reserve(text.size());
  for (const char c : text) {
    switch (c) {
      case '&':
        out += "&amp;";
        break;
      case '<':
        out += "&lt;";
        break;
      case '>':
        out += "&gt;";
        break;
      case '"':
        out += "&quot;";
        break;
      case '\'':
        out += "&#39;";
        break;
      default:
        // Control characters are not allowed in XML at all.
        out += static_cast<unsigned char>(c) < 0x20 && c != '\n' && c != '\t' ? ' ' : c;
    }
  }
  return out;
}

std::string exact_number(double value) {
  return std::isnan(value) ? std::string() : fmt::format("{}", value);
}

std::string_view series_colour(std::size_t index) {
  constexpr std::array<std::string_view, 10> kColours = {"#1f77b4", "#d62728", "#2ca02c", "#9467bd",
                                                         "#ff7f0e", "#8c564b", "#17becf", "#e377c2",
                                                         "#7f7f7f", "#bcbd22"};
  return kColours[index % kColours.size()];
}

std::string scale_colour(ColourScale scale, double share) {
  const Rgb colour = mix(scale, share);
  return fmt::format("rgb({:.0f},{:.0f},{:.0f})", colour[0], colour[1], colour[2]);
}

bool is_dark(ColourScale scale, double share) {
  const Rgb colour = mix(scale, share);
  return 0.299 * colour[0] + 0.587 * colour[1] + 0.114 * colour[2] < 128.0;
}

double Axis::place(double value) const {
  const double share = logarithmic ? (std::log(value) - std::log(low)) / (std::log(high) - std::log(low))
                                   : (value - low) / (high - low);
  return from + share * (to - from);
}

std::vector<double> Axis::ticks() const {
  std::vector<double> out;
  constexpr std::array<double, 3> kSteps = {1.0, 2.0, 5.0};
  if (logarithmic) {
    // Beyond three decades only the powers of ten.
    const bool sparse = std::log10(high / low) > 3.0;
    for (double decade = std::pow(10.0, std::floor(std::log10(low))); decade <= high; decade *= 10.0) {
      for (const double step : kSteps) {
        const double tick = decade * step;
        if ((step == 1.0 || !sparse) && tick >= low * 0.999 && tick <= high * 1.001) out.push_back(tick);
      }
    }
    return out;
  }
  const double span = high - low;
  double step = std::pow(10.0, std::floor(std::log10(span / 4.0)));
  for (const double factor : {5.0, 2.0}) {
    if (span / (step * factor) >= 4.0) {
      step *= factor;
      break;
    }
  }
  const auto first = static_cast<long>(std::ceil(low / step - 1e-9));
  const auto last = static_cast<long>(std::floor(high / step + 1e-9));
  for (long i = first; i <= last; ++i) out.push_back(static_cast<double>(i) * step);
  return out;
}

}  // namespace thinkey::eval
