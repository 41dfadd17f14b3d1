#include "tokenizer/normalizer.h"

#include <utf8proc.h>

#include <cstdlib>
#include <memory>
#include <new>

#include "base/fail.h"
#include "tokenizer/byte_alphabet.h"
#include "tokenizer/characters.h"
#include "tokenizer/utf8.h"

namespace thinkey {
namespace {

using Kind = NormalizerStep::Kind;

std::string normal_form(std::string_view text, int options) {
  utf8proc_uint8_t* raw = nullptr;
  const utf8proc_ssize_t bytes = utf8proc_map(reinterpret_cast<const utf8proc_uint8_t*>(text.data()),
                                              static_cast<utf8proc_ssize_t>(text.size()), &raw,
                                              static_cast<utf8proc_option_t>(UTF8PROC_STABLE | options));
  const std::unique_ptr<utf8proc_uint8_t, decltype(&std::free)> result(raw, &std::free);
  if (bytes == UTF8PROC_ERROR_NOMEM) throw std::bad_alloc();
  if (bytes < 0) fail_data("tokenizer: the text cannot be normalized: {}", utf8proc_errmsg(bytes));
  return {reinterpret_cast<const char*>(result.get()), static_cast<std::size_t>(bytes)};
}

// Calls change(character, out) for every character; it appends what shall stand in its place.
template <typename Change>
std::string each_character(std::string_view text, const Change& change) {
  std::string out;
  out.reserve(text.size());
  while (!text.empty()) {
    const Utf8Step step = next_utf8(text);
    change(step.character, out);
    text.remove_prefix(step.bytes);
  }
  return out;
}

void append_lowercase(char32_t character, std::string& out) {
  if (character == 0x130) {  // the one character whose small form is two
    append_utf8(out, 'i');
    append_utf8(out, 0x307);
    return;
  }
  append_utf8(out, static_cast<char32_t>(utf8proc_tolower(static_cast<utf8proc_int32_t>(character))));
}

// SentencePiece's "nmt" rule set.
void append_nmt(char32_t c, std::string& out) {
  const bool dropped =
      (c >= 1 && c <= 8) || c == 0xB || (c >= 0xE && c <= 0x1F) || c == 0x7F || c == 0x8F || c == 0x9F;
  if (dropped) return;
  const bool blank = c == 9 || c == 0xA || c == 0xC || c == 0xD || c == 0x1680 ||
                     (c >= 0x200B && c <= 0x200F) || c == 0x2028 || c == 0x2029 || c == 0x2581 ||
                     c == 0xFEFF || c == 0xFFFD;
  append_utf8(out, blank ? U' ' : c);
}

std::string stripped(std::string_view text, bool left, bool right) {
  if (left) text.remove_prefix(leading_space(text));
  if (right) text.remove_suffix(trailing_space(text));
  return std::string(text);
}

std::string change(std::string_view text, const NormalizerStep& step) {
  switch (step.kind) {
    case Kind::Nfc:
      return normal_form(text, UTF8PROC_COMPOSE);
    case Kind::Nfd:
      return normal_form(text, UTF8PROC_DECOMPOSE);
    case Kind::Nfkc:
      return normal_form(text, UTF8PROC_COMPOSE | UTF8PROC_COMPAT);
    case Kind::Nfkd:
      return normal_form(text, UTF8PROC_DECOMPOSE | UTF8PROC_COMPAT);
    case Kind::Lowercase:
      return each_character(text, append_lowercase);
    case Kind::StripAccents:
      return each_character(text, [](char32_t c, std::string& out) {
        if (character_class(c) != CharacterClass::Mark) append_utf8(out, c);
      });
    case Kind::Nmt:
      return each_character(text, append_nmt);
    case Kind::Strip:
      return stripped(text, step.left, step.right);
    case Kind::Prepend:
      return text.empty() ? std::string() : step.content + std::string(text);
    case Kind::ReplaceText:
      return replace_text(text, step.pattern, step.content);
    case Kind::ByteAlphabet:
      return bytes_to_alphabet(text);
    case Kind::ReplacePattern:
      break;
  }
  return std::string(text);
}

}  // namespace

std::string replace_text(std::string_view text, std::string_view pattern, std::string_view content) {
  std::string out;
  out.reserve(text.size() + text.size() / 2);
  std::size_t at = 0;
  while (!pattern.empty()) {
    const std::size_t found = text.find(pattern, at);
    if (found == std::string_view::npos) break;
    out.append(text, at, found - at).append(content);
    at = found + pattern.size();
  }
  return out.append(text, at);
}

std::string replace_matches(std::string_view text, const Regex& pattern, std::string_view content) {
  std::string out;
  std::size_t at = 0;
  Regex::Cursor cursor;
  while (const auto match = pattern.next(text, cursor)) {
    out.append(text, at, match->start - at).append(content);
    at = match->end;
  }
  return out.append(text, at);
}

Normalizer::Normalizer(const std::vector<NormalizerStep>& steps) : steps_(steps) {
  for (const NormalizerStep& step : steps_) {
    if (step.kind == Kind::ReplacePattern) expressions_.emplace_back(step.pattern);
  }
}

std::string Normalizer::apply(std::string_view text) const {
  std::string out(text);
  auto expression = expressions_.begin();
  for (const NormalizerStep& step : steps_) {
    out = step.kind == Kind::ReplacePattern ? replace_matches(out, *expression++, step.content)
                                            : change(out, step);
  }
  return out;
}

}  // namespace thinkey
