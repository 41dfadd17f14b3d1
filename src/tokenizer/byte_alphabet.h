// GPT-2's byte-to-unicode alphabet: every byte has a printable character, so that a byte-level
// vocabulary can be stored as text. Bytes that print as Latin-1 keep their character; the other 68
// get U+0100 onwards, in order.
#pragma once

#include <string>
#include <string_view>

namespace thinkey {

[[nodiscard]] std::string byte_to_alphabet(unsigned char byte);
[[nodiscard]] std::string bytes_to_alphabet(std::string_view bytes);
// The inverse; a text with a character outside of the alphabet stays as it is.
[[nodiscard]] std::string alphabet_to_bytes(std::string_view text);

}  // namespace thinkey
