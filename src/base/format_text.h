// Figures and tables as text for people.
#pragma once

#include <cstddef>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace thinkey {

// "512 B", "37.5 KiB", "1.20 GiB": three significant digits.
[[nodiscard]] std::string format_bytes(std::size_t bytes);

// "512", "512B", "37KiB", "4GiB", "4G" and the like; none where the text is no number of bytes below 2^50.
[[nodiscard]] std::optional<std::size_t> parse_bytes(std::string_view text);

// A count that may be a mean: "2048", "2047.5".
[[nodiscard]] std::string format_count(double count);

// Columns padded to their widest cell, two spaces apart, the first one flush left and the others
// flush right; every line starts with `indent` spaces. rows[0] is the header.
[[nodiscard]] std::string format_table(const std::vector<std::vector<std::string>>& rows,
                                       std::size_t indent = 0);

}  // namespace thinkey
