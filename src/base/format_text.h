// Figures and tables as text for people.
#pragma once

#include <cstddef>
#include <string>
#include <vector>

namespace thinkey {

// "512 B", "37.5 KiB", "1.20 GiB": three significant digits.
[[nodiscard]] std::string format_bytes(std::size_t bytes);

// A count that may be a mean: "2048", "2047.5".
[[nodiscard]] std::string format_count(double count);

// Columns padded to their widest cell, two spaces apart, the first one flush left and the others
// flush right; every line starts with `indent` spaces. rows[0] is the header.
[[nodiscard]] std::string format_table(const std::vector<std::vector<std::string>>& rows,
                                       std::size_t indent = 0);

}  // namespace thinkey
