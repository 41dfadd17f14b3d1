// Text from model files made fit for one line of a terminal.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

namespace thinkey {

// `text` with control characters and bytes that are not UTF-8 written as escapes, cut to about
// `limit` bytes with "..." at the end.
[[nodiscard]] std::string printable(std::string_view text, std::size_t limit = 80);

// Length in bytes of the well-formed UTF-8 character at the start of `text`; 0 when there is none.
[[nodiscard]] std::size_t utf8_length(std::string_view text) noexcept;

}  // namespace thinkey
