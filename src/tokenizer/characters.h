// Unicode's classes as the models' expressions mean them: \p{L}, \p{N}, \p{M} and White_Space.
#pragma once

#include <cstdint>
#include <string_view>

namespace thinkey {

enum class CharacterClass : std::uint8_t {
  Other,
  Letter,
  Number,
  Mark,
  Space,
  Newline
};  // Newline: \r and \n

[[nodiscard]] CharacterClass character_class(char32_t character) noexcept;

// Regular expressions' \w: letters, marks, decimal numbers and connectors.
[[nodiscard]] bool is_word_character(char32_t character) noexcept;
[[nodiscard]] inline bool is_space(char32_t character) noexcept {
  const CharacterClass c = character_class(character);
  return c == CharacterClass::Space || c == CharacterClass::Newline;
}

// The class of the first character of well-formed, not empty `text`, and its length.
struct ClassStep {
  CharacterClass cls;
  std::uint32_t bytes;
};
[[nodiscard]] ClassStep next_class(const char* text) noexcept;

// Length of the white space at the beginning or end of well-formed `text`.
[[nodiscard]] std::size_t leading_space(std::string_view text) noexcept;
[[nodiscard]] std::size_t trailing_space(std::string_view text) noexcept;

// First and last character of well-formed, not empty `text`.
[[nodiscard]] char32_t first_character(std::string_view text) noexcept;
[[nodiscard]] char32_t last_character(std::string_view text) noexcept;

}  // namespace thinkey
