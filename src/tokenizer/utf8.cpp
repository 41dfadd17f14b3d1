#include "tokenizer/utf8.h"

namespace thinkey {

namespace {

struct LeadByte {
  std::size_t length;  // 0: no character starts with it
  unsigned char second_low, second_high;
};

// The second byte's range is narrower after four lead bytes: that alone rules out overlong forms,
// surrogates and values above U+10FFFF.
LeadByte lead_byte(unsigned char byte) noexcept {
  if (byte < 0x80) return {1, 0, 0};
  if (byte < 0xC2) return {0, 0, 0};
  if (byte < 0xE0) return {2, 0x80, 0xBF};
  if (byte == 0xE0) return {3, 0xA0, 0xBF};
  if (byte == 0xED) return {3, 0x80, 0x9F};
  if (byte < 0xF0) return {3, 0x80, 0xBF};
  if (byte == 0xF0) return {4, 0x90, 0xBF};
  if (byte < 0xF4) return {4, 0x80, 0xBF};
  if (byte == 0xF4) return {4, 0x80, 0x8F};
  return {0, 0, 0};
}

}  // namespace

Utf8Step next_utf8(std::string_view text) noexcept {
  const auto byte_at = [text](std::size_t i) { return static_cast<unsigned char>(text[i]); };
  const unsigned char first = byte_at(0);
  const LeadByte lead = lead_byte(first);
  if (lead.length == 0) return {Utf8Status::Invalid, 1, 0};
  if (lead.length == 1) return {Utf8Status::Valid, 1, first};
  char32_t character = first & (0xFFU >> (lead.length + 1));
  for (std::size_t i = 1; i < lead.length; ++i) {
    if (i == text.size()) return {Utf8Status::Incomplete, i, 0};
    const unsigned char low = i == 1 ? lead.second_low : 0x80;
    const unsigned char high = i == 1 ? lead.second_high : 0xBF;
    if (byte_at(i) < low || byte_at(i) > high) return {Utf8Status::Invalid, i, 0};
    character = (character << 6U) | (byte_at(i) & 0x3FU);
  }
  return {Utf8Status::Valid, lead.length, character};
}

std::optional<std::size_t> find_invalid_utf8(std::string_view text) noexcept {
  for (std::size_t offset = 0; offset < text.size();) {
    const Utf8Step step = next_utf8(text.substr(offset));
    if (step.status != Utf8Status::Valid) return offset;
    offset += step.bytes;
  }
  return std::nullopt;
}

void append_utf8(std::string& text, char32_t character) {
  const auto put = [&text](std::uint32_t byte) { text.push_back(static_cast<char>(byte)); };
  const std::uint32_t value = character;
  const auto tail = [value](unsigned shift) { return 0x80U | ((value >> shift) & 0x3FU); };
  if (value < 0x80) {
    put(value);
  } else if (value < 0x800) {
    put(0xC0U | (value >> 6U));
    put(tail(0));
  } else if (value < 0x10000) {
    put(0xE0U | (value >> 12U));
    put(tail(6));
    put(tail(0));
  } else {
    put(0xF0U | (value >> 18U));
    put(tail(12));
    put(tail(6));
    put(tail(0));
  }
}

void drain_utf8(std::string& bytes, std::string& text) {
  std::size_t offset = 0;
  while (offset < bytes.size()) {
    const Utf8Step step = next_utf8(std::string_view(bytes).substr(offset));
    if (step.status == Utf8Status::Incomplete) break;
    if (step.status == Utf8Status::Valid) {
      text.append(bytes, offset, step.bytes);
    } else {
      text.append(kReplacementCharacter);
    }
    offset += step.bytes;
  }
  bytes.erase(0, offset);
}

}  // namespace thinkey
