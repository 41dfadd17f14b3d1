// Text as Unicode code points, with the character classes and case mapping of Python's str and re: the
// rules LongBench's metrics are written in.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace thinkey::eval {

// Ill-formed parts of `utf8` become U+FFFD.
[[nodiscard]] std::u32string decode_text(std::string_view utf8);
[[nodiscard]] std::string encode_text(std::u32string_view text);

[[nodiscard]] bool is_space(char32_t c) noexcept;    // str.isspace, re's \s
[[nodiscard]] bool is_word(char32_t c) noexcept;     // re's \w
[[nodiscard]] bool is_decimal(char32_t c) noexcept;  // re's \d

// str.lower: one code point for one, but for U+0130, and for a capital sigma at the end of a word.
[[nodiscard]] std::u32string lower(std::u32string_view text);

// str.split(): the parts between runs of white space.
[[nodiscard]] std::vector<std::u32string> split_words(std::u32string_view text);
// str.split(separator): one part more than there are separators.
[[nodiscard]] std::vector<std::u32string_view> split_at(std::u32string_view text, char32_t separator);

}  // namespace thinkey::eval
