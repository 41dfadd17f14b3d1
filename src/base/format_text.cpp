#include "base/format_text.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>
#include <string_view>

namespace thinkey {

std::string format_bytes(std::size_t bytes) {
  constexpr std::array<std::string_view, 5> kUnits = {"B", "KiB", "MiB", "GiB", "TiB"};
  if (bytes < 1024) return fmt::format("{} B", bytes);
  auto value = static_cast<double>(bytes);
  std::size_t unit = 0;
  while (value >= 1023.5 && unit + 1 < kUnits.size()) {
    value /= 1024.0;
    ++unit;
  }
  const int decimals = value < 9.995 ? 2 : value < 99.95 ? 1 : 0;
  return fmt::format("{:.{}f} {}", value, decimals, kUnits[unit]);
}

std::optional<std::size_t> parse_bytes(std::string_view text) {
  constexpr std::size_t kMost = std::size_t{1} << 50U;
  std::size_t number = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (error != std::errc()) return std::nullopt;
  const std::string_view unit(end, static_cast<std::size_t>(text.data() + text.size() - end));
  const int shift = unit == "KiB" || unit == "K"   ? 10
                    : unit == "MiB" || unit == "M" ? 20
                    : unit == "GiB" || unit == "G" ? 30
                    : unit.empty() || unit == "B"  ? 0
                                                   : -1;
  if (shift < 0 || number > kMost >> shift) return std::nullopt;
  return number << shift;
}

std::string format_count(double count) {
  const double rounded = std::round(count);
  return std::abs(count - rounded) < 0.05 ? fmt::format("{:.0f}", rounded) : fmt::format("{:.1f}", count);
}

std::string format_table(const std::vector<std::vector<std::string>>& rows, std::size_t indent) {
  std::vector<std::size_t> widths;
  for (const auto& row : rows) {
    widths.resize(std::max(widths.size(), row.size()), 0);
    for (std::size_t i = 0; i < row.size(); ++i) widths[i] = std::max(widths[i], row[i].size());
  }
  std::string text;
  for (const auto& row : rows) {
    text.append(indent, ' ');
    for (std::size_t i = 0; i < row.size(); ++i) {
      text += i == 0 ? fmt::format("{:<{}}", row[i], widths[i]) : fmt::format("  {:>{}}", row[i], widths[i]);
    }
    text += '\n';
  }
  return text;
}

}  // namespace thinkey
