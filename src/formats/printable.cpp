#include "formats/printable.h"

#include <fmt/format.h>

#include <cstdint>
#include <iterator>

namespace thinkey {

std::size_t utf8_length(std::string_view text) noexcept {
  if (text.empty()) return 0;
  const auto byte = [&](std::size_t i) { return static_cast<std::uint8_t>(text[i]); };
  const std::uint8_t first = byte(0);
  if (first < 0x80U) return 1;
  const std::size_t length = first >= 0xF0U ? 4 : first >= 0xE0U ? 3 : 2;
  if (first < 0xC2U || first > 0xF4U || text.size() < length) return 0;
  for (std::size_t i = 1; i < length; ++i) {
    if ((byte(i) & 0xC0U) != 0x80U) return 0;
  }
  const std::uint8_t second = byte(1);
  const bool overlong = (first == 0xE0U && second < 0xA0U) || (first == 0xF0U && second < 0x90U);
  const bool surrogate = first == 0xEDU && second > 0x9FU;
  const bool beyond = first == 0xF4U && second > 0x8FU;
  return overlong || surrogate || beyond ? 0 : length;
}

std::string printable(std::string_view text, std::size_t limit) {
  std::string out;
  std::size_t i = 0;
  while (i < text.size()) {
    if (out.size() >= limit) return out + "...";
    const std::string_view rest = text.substr(i);
    const std::size_t length = utf8_length(rest);
    const auto first = static_cast<std::uint8_t>(text[i]);
    // C1 controls are U+0080..U+009F; U+2028 and U+2029 end a line.
    const bool c1 = length == 2 && first == 0xC2U && static_cast<std::uint8_t>(text[i + 1]) < 0xA0U;
    const bool separator = rest.starts_with("\u2028") || rest.starts_with("\u2029");
    if (first == '\n') {
      out += "\\n";
      ++i;
    } else if (length == 0 || first < 0x20U || first == 0x7FU || c1 || separator) {
      fmt::format_to(std::back_inserter(out), "\\x{:02x}", first);
      ++i;
    } else {
      out += rest.substr(0, length);
      i += length;
    }
  }
  return out;
}

}  // namespace thinkey
