// Unicode's classes as the models' expressions mean them: \p{L}, \p{N}, \p{M} and White_Space.
#pragma once

#include <array>
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

inline constexpr std::array<CharacterClass, 128> kAsciiClasses = [] {
  std::array<CharacterClass, 128> classes{};
  for (char32_t c = 0; c < classes.size(); ++c) {
    const bool letter = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
    if (c >= '0' && c <= '9') classes[c] = CharacterClass::Number;
    if (letter) classes[c] = CharacterClass::Letter;
    if (c == ' ' || (c >= 9 && c <= 13)) classes[c] = CharacterClass::Space;
    if (c == '\r' || c == '\n') classes[c] = CharacterClass::Newline;
  }
  return classes;
}();

[[nodiscard]] CharacterClass character_class(char32_t character) noexcept;

// Regular expressions' \w: letters, marks, decimal numbers and connectors.
[[nodiscard]] bool is_word_character(char32_t character) noexcept;
[[nodiscard]] inline bool is_space(char32_t character) noexcept {
  const CharacterClass c = character_class(character);
  return c == CharacterClass::Space || c == CharacterClass::Newline;
}

// The first character of well-formed, not empty `text`, and its length.
struct DecodedCharacter {
  char32_t code;
  std::uint32_t bytes;
};
[[nodiscard]] inline DecodedCharacter decode_character(const char* text) noexcept {
  const auto at = [text](int i) { return static_cast<std::uint32_t>(static_cast<unsigned char>(text[i])); };
  const auto tail = [&at](int i) { return at(i) & 0x3FU; };
  if (at(0) < 0x80) return {at(0), 1};
  if (at(0) < 0xE0) return {(at(0) & 0x1FU) << 6U | tail(1), 2};
  if (at(0) < 0xF0) return {(at(0) & 0x0FU) << 12U | tail(1) << 6U | tail(2), 3};
  return {(at(0) & 0x07U) << 18U | tail(1) << 12U | tail(2) << 6U | tail(3), 4};
}

// The class of the first character of well-formed, not empty `text`, and its length.
struct ClassStep {
  CharacterClass cls;
  std::uint32_t bytes;
};
[[nodiscard]] ClassStep next_wide_class(const char* text) noexcept;  // of a character that is not ASCII
[[nodiscard]] inline ClassStep next_class(const char* text) noexcept {
  const auto first = static_cast<unsigned char>(*text);
  return first < kAsciiClasses.size() ? ClassStep{kAsciiClasses[first], 1} : next_wide_class(text);
}

// Length of the white space at the beginning or end of well-formed `text`.
[[nodiscard]] std::size_t leading_space(std::string_view text) noexcept;
[[nodiscard]] std::size_t trailing_space(std::string_view text) noexcept;

// First and last character of well-formed, not empty `text`.
[[nodiscard]] char32_t first_character(std::string_view text) noexcept;
[[nodiscard]] char32_t last_character(std::string_view text) noexcept;

}  // namespace thinkey
