#include "tokenizer/byte_alphabet.h"

#include <array>
#include <cstddef>

#include "tokenizer/utf8.h"

namespace thinkey {

namespace {

constexpr std::size_t kAlphabetEnd = 0x144;  // U+0100 plus the 68 bytes that do not print

constexpr bool prints(unsigned byte) {
  return (byte >= 0x21 && byte <= 0x7E) || (byte >= 0xA1 && byte <= 0xAC) || (byte >= 0xAE && byte <= 0xFF);
}

constexpr std::array<char32_t, 256> make_characters() {
  std::array<char32_t, 256> characters{};
  char32_t next = 0x100;
  for (unsigned byte = 0; byte < 256; ++byte) characters[byte] = prints(byte) ? char32_t{byte} : next++;
  return characters;
}

constexpr std::array<char32_t, 256> kCharacters = make_characters();

constexpr std::array<int, kAlphabetEnd> make_bytes() {
  std::array<int, kAlphabetEnd> bytes{};
  for (int& byte : bytes) byte = -1;
  for (unsigned byte = 0; byte < 256; ++byte) bytes[kCharacters[byte]] = static_cast<int>(byte);
  return bytes;
}

constexpr std::array<int, kAlphabetEnd> kBytes = make_bytes();

}  // namespace

std::string byte_to_alphabet(unsigned char byte) {
  std::string text;
  append_utf8(text, kCharacters[byte]);
  return text;
}

std::string bytes_to_alphabet(std::string_view bytes) {
  std::string text;
  text.reserve(2 * bytes.size());
  for (const char byte : bytes) append_utf8(text, kCharacters[static_cast<unsigned char>(byte)]);
  return text;
}

std::string alphabet_to_bytes(std::string_view text) {
  std::string bytes;
  bytes.reserve(text.size());
  for (std::string_view rest = text; !rest.empty();) {
    const Utf8Step step = next_utf8(rest);
    const bool known =
        step.status == Utf8Status::Valid && step.character < kAlphabetEnd && kBytes[step.character] >= 0;
    if (!known) return std::string(text);
    bytes.push_back(static_cast<char>(kBytes[step.character]));
    rest.remove_prefix(step.bytes);
  }
  return bytes;
}

}  // namespace thinkey
