#include "tokenizer/characters.h"

#include <utf8proc.h>

#include <cstddef>

namespace thinkey {
namespace {

CharacterClass of_category(utf8proc_category_t category) noexcept {
  switch (category) {
    case UTF8PROC_CATEGORY_LU:
    case UTF8PROC_CATEGORY_LL:
    case UTF8PROC_CATEGORY_LT:
    case UTF8PROC_CATEGORY_LM:
    case UTF8PROC_CATEGORY_LO:
      return CharacterClass::Letter;
    case UTF8PROC_CATEGORY_ND:
    case UTF8PROC_CATEGORY_NL:
    case UTF8PROC_CATEGORY_NO:
      return CharacterClass::Number;
    case UTF8PROC_CATEGORY_MN:
    case UTF8PROC_CATEGORY_MC:
    case UTF8PROC_CATEGORY_ME:
      return CharacterClass::Mark;
    case UTF8PROC_CATEGORY_ZS:
    case UTF8PROC_CATEGORY_ZL:
    case UTF8PROC_CATEGORY_ZP:
      return CharacterClass::Space;
    default:
      return CharacterClass::Other;
  }
}

std::size_t last_start(std::string_view text) noexcept {
  std::size_t at = text.size() - 1;
  while (at > 0 && (static_cast<unsigned char>(text[at]) & 0xC0U) == 0x80U) --at;
  return at;
}

}  // namespace

CharacterClass character_class(char32_t character) noexcept {
  if (character < kAsciiClasses.size()) return kAsciiClasses[character];
  if (character == 0x85) return CharacterClass::Space;  // a control character by category
  return of_category(utf8proc_category(static_cast<utf8proc_int32_t>(character)));
}

bool is_word_character(char32_t character) noexcept {
  if (character == '_') return true;
  const auto category = utf8proc_category(static_cast<utf8proc_int32_t>(character));
  const CharacterClass c = of_category(category);
  return c == CharacterClass::Letter || c == CharacterClass::Mark || category == UTF8PROC_CATEGORY_ND ||
         category == UTF8PROC_CATEGORY_NL || category == UTF8PROC_CATEGORY_PC;
}

ClassStep next_wide_class(const char* text) noexcept {
  const DecodedCharacter character = decode_character(text);
  return {character_class(character.code), character.bytes};
}

std::size_t leading_space(std::string_view text) noexcept {
  std::size_t at = 0;
  while (at < text.size()) {
    const ClassStep step = next_class(text.data() + at);
    if (step.cls != CharacterClass::Space && step.cls != CharacterClass::Newline) break;
    at += step.bytes;
  }
  return at;
}

std::size_t trailing_space(std::string_view text) noexcept {
  std::size_t end = text.size();
  while (end > 0) {
    const std::size_t start = last_start(text.substr(0, end));
    if (!is_space(first_character(text.substr(start)))) break;
    end = start;
  }
  return text.size() - end;
}

char32_t first_character(std::string_view text) noexcept { return decode_character(text.data()).code; }

char32_t last_character(std::string_view text) noexcept {
  return first_character(text.substr(last_start(text)));
}

}  // namespace thinkey
