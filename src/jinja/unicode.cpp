#include "jinja/unicode.h"

#include <utf8proc.h>

#include <array>
#include <utility>

namespace thinkey::jinja {

namespace {

utf8proc_category_t category(char32_t c) { return utf8proc_category(static_cast<utf8proc_int32_t>(c)); }

// Upper case of more than one character (Unicode's SpecialCasing.txt, the common part).
std::string_view special_upper(char32_t c) {
  static constexpr std::array<std::pair<char32_t, std::string_view>, 10> kSpecial{{
      {0xDF, "SS"},
      {0x149, "\xCA\xBCN"},
      {0x1F0, "J\xCC\x8C"},
      {0xFB00, "FF"},
      {0xFB01, "FI"},
      {0xFB02, "FL"},
      {0xFB03, "FFI"},
      {0xFB04, "FFL"},
      {0xFB05, "ST"},
      {0xFB06, "ST"},
  }};
  for (const auto& [character, upper] : kSpecial) {
    if (character == c) return upper;
  }
  return {};
}

void append_upper(std::string& out, char32_t c) {
  const std::string_view special = c < 0xDF ? std::string_view() : special_upper(c);
  if (!special.empty()) {
    out += special;
  } else {
    append_character(out, static_cast<char32_t>(utf8proc_toupper(static_cast<utf8proc_int32_t>(c))));
  }
}

void append_title(std::string& out, char32_t c) {
  const std::string_view special = c < 0xDF ? std::string_view() : special_upper(c);
  if (!special.empty()) {
    out += special.substr(0, 1);
    for (const char letter : special.substr(1)) {
      out += letter >= 'A' && letter <= 'Z' ? static_cast<char>(letter + 32) : letter;
    }
  } else {
    append_character(out, static_cast<char32_t>(utf8proc_totitle(static_cast<utf8proc_int32_t>(c))));
  }
}

bool is_cased(char32_t c) { return is_upper(c) || is_lower(c); }

// `text[at]` is the character c. A capital sigma at a word's end becomes the final one.
void append_lower(std::string& out, char32_t c, std::string_view text, std::size_t at, bool after_cased) {
  constexpr char32_t kSigma = 0x3A3;
  constexpr char32_t kDottedI = 0x130;
  if (c == kSigma && after_cased) {
    const std::size_t next = at + character_bytes(text, at);
    if (next >= text.size() || !is_cased(character_at(text, next))) {
      append_character(out, 0x3C2);
      return;
    }
  }
  if (c == kDottedI) {
    out += "i\xCC\x87";
    return;
  }
  append_character(out, static_cast<char32_t>(utf8proc_tolower(static_cast<utf8proc_int32_t>(c))));
}

template <typename Each>
void for_each_character(std::string_view text, const Each& each) {
  for (std::size_t at = 0; at < text.size(); at += character_bytes(text, at)) {
    each(character_at(text, at), at);
  }
}

template <typename Drops>
std::string_view strip_if(std::string_view text, Ends ends, const Drops& drops) {
  std::size_t begin = 0;
  std::size_t end = text.size();
  if (ends != Ends::Right) {
    while (begin < end && drops(character_at(text, begin))) begin += character_bytes(text, begin);
  }
  if (ends != Ends::Left) {
    while (end > begin) {
      std::size_t last = end - 1;
      while (last > begin && (static_cast<unsigned char>(text[last]) & 0xC0U) == 0x80U) --last;
      if (!drops(character_at(text, last))) break;
      end = last;
    }
  }
  return text.substr(begin, end - begin);
}

}  // namespace

std::size_t character_bytes(std::string_view text, std::size_t at) noexcept {
  const auto lead = static_cast<unsigned char>(text[at]);
  const std::size_t bytes = lead < 0xC0 ? 1 : lead < 0xE0 ? 2 : lead < 0xF0 ? 3 : 4;
  return at + bytes <= text.size() ? bytes : 1;
}

char32_t character_at(std::string_view text, std::size_t at) noexcept {
  const auto byte = [&](std::size_t i) { return static_cast<char32_t>(static_cast<unsigned char>(text[i])); };
  switch (character_bytes(text, at)) {
    case 2:
      return (byte(at) & 0x1FU) << 6U | (byte(at + 1) & 0x3FU);
    case 3:
      return (byte(at) & 0xFU) << 12U | (byte(at + 1) & 0x3FU) << 6U | (byte(at + 2) & 0x3FU);
    case 4:
      return (byte(at) & 0x7U) << 18U | (byte(at + 1) & 0x3FU) << 12U | (byte(at + 2) & 0x3FU) << 6U |
             (byte(at + 3) & 0x3FU);
    default:
      return byte(at);
  }
}

std::size_t count_characters(std::string_view text) noexcept {
  std::size_t count = 0;
  for (const char c : text) count += (static_cast<unsigned char>(c) & 0xC0U) != 0x80U ? 1 : 0;
  return count;
}

std::size_t offset_of(std::string_view text, std::size_t character) noexcept {
  std::size_t at = 0;
  for (; character > 0 && at < text.size(); --character) at += character_bytes(text, at);
  return at;
}

void append_character(std::string& out, char32_t c) {
  const auto byte = [&out](char32_t value) { out += static_cast<char>(static_cast<unsigned char>(value)); };
  if (c < 0x80) {
    byte(c);
  } else if (c < 0x800) {
    byte(0xC0U | c >> 6U);
    byte(0x80U | (c & 0x3FU));
  } else if (c < 0x10000) {
    byte(0xE0U | c >> 12U);
    byte(0x80U | (c >> 6U & 0x3FU));
    byte(0x80U | (c & 0x3FU));
  } else {
    byte(0xF0U | c >> 18U);
    byte(0x80U | (c >> 12U & 0x3FU));
    byte(0x80U | (c >> 6U & 0x3FU));
    byte(0x80U | (c & 0x3FU));
  }
}

std::size_t find_bad_utf8(std::string_view text) noexcept {
  std::size_t at = 0;
  while (at < text.size()) {
    utf8proc_int32_t character = 0;
    const auto* bytes = reinterpret_cast<const utf8proc_uint8_t*>(text.data()) + at;
    const utf8proc_ssize_t used =
        utf8proc_iterate(bytes, static_cast<utf8proc_ssize_t>(text.size() - at), &character);
    if (used <= 0) return at;
    at += static_cast<std::size_t>(used);
  }
  return std::string_view::npos;
}

bool is_space(char32_t c) noexcept {
  return (c >= 0x9 && c <= 0xD) || (c >= 0x1C && c <= 0x20) || c == 0x85 || c == 0xA0 || c == 0x1680 ||
         (c >= 0x2000 && c <= 0x200A) || c == 0x2028 || c == 0x2029 || c == 0x202F || c == 0x205F ||
         c == 0x3000;
}

bool is_printable(char32_t c) noexcept {
  if (c < 0x7F) return c >= 0x20;
  switch (category(c)) {
    case UTF8PROC_CATEGORY_CN:
    case UTF8PROC_CATEGORY_CC:
    case UTF8PROC_CATEGORY_CF:
    case UTF8PROC_CATEGORY_CS:
    case UTF8PROC_CATEGORY_CO:
    case UTF8PROC_CATEGORY_ZS:
    case UTF8PROC_CATEGORY_ZL:
    case UTF8PROC_CATEGORY_ZP:
      return false;
    default:
      return true;
  }
}

bool is_alpha(char32_t c) noexcept {
  const auto found = category(c);
  return found >= UTF8PROC_CATEGORY_LU && found <= UTF8PROC_CATEGORY_LO;
}
bool is_decimal(char32_t c) noexcept { return category(c) == UTF8PROC_CATEGORY_ND; }
bool is_numeric(char32_t c) noexcept {
  const auto found = category(c);
  return found == UTF8PROC_CATEGORY_ND || found == UTF8PROC_CATEGORY_NL || found == UTF8PROC_CATEGORY_NO;
}
bool is_upper(char32_t c) noexcept {
  const auto found = category(c);
  return found == UTF8PROC_CATEGORY_LU || found == UTF8PROC_CATEGORY_LT;
}
bool is_lower(char32_t c) noexcept { return category(c) == UTF8PROC_CATEGORY_LL; }
bool is_word(char32_t c) noexcept { return c == '_' || is_alpha(c) || is_numeric(c); }

std::string to_upper(std::string_view text) {
  std::string out;
  for_each_character(text, [&](char32_t c, std::size_t) { append_upper(out, c); });
  return out;
}

std::string to_lower(std::string_view text) {
  std::string out;
  bool after_cased = false;
  for_each_character(text, [&](char32_t c, std::size_t at) {
    append_lower(out, c, text, at, after_cased);
    after_cased = is_cased(c);
  });
  return out;
}

std::string to_title(std::string_view text) {
  std::string out;
  bool within = false;
  for_each_character(text, [&](char32_t c, std::size_t at) {
    within ? append_lower(out, c, text, at, true) : append_title(out, c);
    within = is_cased(c);
  });
  return out;
}

std::string capitalize(std::string_view text) {
  std::string out;
  if (text.empty()) return out;
  append_title(out, character_at(text, 0));
  // The tail is lowered as part of the word: a final sigma stays one.
  bool after_cased = is_cased(character_at(text, 0));
  for (std::size_t at = character_bytes(text, 0); at < text.size(); at += character_bytes(text, at)) {
    const char32_t c = character_at(text, at);
    append_lower(out, c, text, at, after_cased);
    after_cased = is_cased(c);
  }
  return out;
}

std::string swap_case(std::string_view text) {
  std::string out;
  for_each_character(text, [&](char32_t c, std::size_t at) {
    if (is_upper(c)) {
      append_lower(out, c, text, at, at > 0);
    } else {
      append_upper(out, c);
    }
  });
  return out;
}

std::string_view strip(std::string_view text, Ends ends) noexcept { return strip_if(text, ends, is_space); }

std::string_view strip(std::string_view text, std::string_view set, Ends ends) {
  return strip_if(text, ends, [set](char32_t c) {
    for (std::size_t at = 0; at < set.size(); at += character_bytes(set, at)) {
      if (character_at(set, at) == c) return true;
    }
    return false;
  });
}

}  // namespace thinkey::jinja
