// UTF-8 one character at a time, well-formed as Unicode's table 3-7 defines it: no overlong forms,
// no surrogates, nothing above U+10FFFF.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace thinkey {

enum class Utf8Status : std::uint8_t {
  Valid,
  Invalid,     // cannot become a character whatever follows
  Incomplete,  // the text ends inside what may be a character
};

struct Utf8Step {
  Utf8Status status = Utf8Status::Valid;
  std::size_t bytes = 0;   // of the character, or of the longest ill-formed part that is one error
  char32_t character = 0;  // when Valid
};

// The first step through `text`, which must not be empty.
[[nodiscard]] Utf8Step next_utf8(std::string_view text) noexcept;

// Offset of the first ill-formed sequence.
[[nodiscard]] std::optional<std::size_t> find_invalid_utf8(std::string_view text) noexcept;

// `character` must be a Unicode scalar value.
void append_utf8(std::string& text, char32_t character);

// Moves what is complete at the front of `bytes` to `text`, each ill-formed part as one U+FFFD; an
// incomplete character stays in `bytes`.
void drain_utf8(std::string& bytes, std::string& text);

inline constexpr std::string_view kReplacementCharacter = "\xEF\xBF\xBD";  // U+FFFD

}  // namespace thinkey
