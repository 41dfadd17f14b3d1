// UTF-8 text as Python sees it: characters are code points.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

namespace thinkey::jinja {

// Of the character that begins at text[at]; a stray byte counts as a character.
[[nodiscard]] std::size_t character_bytes(std::string_view text, std::size_t at) noexcept;
[[nodiscard]] char32_t character_at(std::string_view text, std::size_t at) noexcept;
[[nodiscard]] std::size_t count_characters(std::string_view text) noexcept;
// Byte offset of a character; text.size() when there are fewer.
[[nodiscard]] std::size_t offset_of(std::string_view text, std::size_t character) noexcept;
void append_character(std::string& out, char32_t character);
// Offset of the first byte that is not UTF-8; npos: all is well.
[[nodiscard]] std::size_t find_bad_utf8(std::string_view text) noexcept;

[[nodiscard]] bool is_space(char32_t c) noexcept;      // str.isspace
[[nodiscard]] bool is_printable(char32_t c) noexcept;  // str.isprintable
[[nodiscard]] bool is_alpha(char32_t c) noexcept;
[[nodiscard]] bool is_decimal(char32_t c) noexcept;
[[nodiscard]] bool is_numeric(char32_t c) noexcept;
[[nodiscard]] bool is_upper(char32_t c) noexcept;  // also title case
[[nodiscard]] bool is_lower(char32_t c) noexcept;
[[nodiscard]] bool is_word(char32_t c) noexcept;  // \w

[[nodiscard]] std::string to_upper(std::string_view text);
[[nodiscard]] std::string to_lower(std::string_view text);
[[nodiscard]] std::string to_title(std::string_view text);  // every word
[[nodiscard]] std::string capitalize(std::string_view text);
[[nodiscard]] std::string swap_case(std::string_view text);

// Whitespace, or the characters of `set`, taken from the ends.
enum class Ends : std::uint8_t { Left = 1, Right = 2, Both = 3 };
[[nodiscard]] std::string_view strip(std::string_view text, Ends ends) noexcept;
[[nodiscard]] std::string_view strip(std::string_view text, std::string_view set, Ends ends);

}  // namespace thinkey::jinja
