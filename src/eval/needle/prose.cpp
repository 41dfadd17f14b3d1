#include "eval/needle/prose.h"

#include <array>

#include "eval/needle/prose_words.h"

namespace thinkey::eval {
namespace {

std::size_t between(Random& random, std::size_t low, std::size_t high) {
  return low + below(random, high - low + 1);
}

std::string colour_and_creature(Random& random) {
  std::string text(pick(random, words::kColours));
  return text.append(" ").append(pick(random, words::kCreatures));
}

std::uint32_t crc32(std::string_view text) {
  std::uint32_t crc = 0xFFFFFFFFU;
  for (const char c : text) {
    crc ^= static_cast<unsigned char>(c);
    for (int bit = 0; bit < 8; ++bit) crc = (crc >> 1U) ^ ((crc & 1U) != 0 ? 0xEDB88320U : 0U);
  }
  return ~crc;
}

// The pairs that training leaves out, by the same rule as held_out() there.
bool held_out(const Fact& fact) { return crc32(fact.key + "=" + fact.value) % 8 == 0; }

}  // namespace

std::string Prose::sentence() {
  const std::string_view form = pick(random_, words::kTemplates);
  std::string text;
  for (std::size_t at = 0; at < form.size(); ++at) {
    if (form[at] != '{') {
      text += form[at];
      continue;
    }
    switch (form[at + 1]) {
      case 'p':
      case 'q':
        text += pick(random_, words::kPeople);
        break;
      case 'a':
      case 'b':
        text += pick(random_, words::kAdjectives);
        break;
      case 't':
      case 'u':
        text += pick(random_, words::kThings);
        break;
      case 's':
      case 'r':
        text += pick(random_, words::kSites);
        break;
      case 'v':
      case 'w':
        text += pick(random_, words::kVerbs);
        break;
      case 'm':
        text += pick(random_, words::kTimes);
        break;
      case 'n':
        text += std::to_string(chance(random_, 0.6) ? between(random_, 2, 99) : between(random_, 100, 99999));
        break;
      case 'y':
        text += std::to_string(between(random_, 1650, 1990));
        break;
      case 'c':
        text += pick(random_, words::kPlaces);
        break;
      case 'x':
        text += pick(random_, words::kNames);
        break;
      case 'h':
        text += pick(random_, words::kWeather);
        break;
      default:  // k
        text += colour_and_creature(random_);
    }
    at += 2;  // the letter and the brace
  }
  if (text[0] >= 'a' && text[0] <= 'z') text[0] = static_cast<char>(text[0] - 32);
  return text;
}

std::string Prose::piece() {
  const bool breaks = --until_break_ == 0;
  if (breaks) until_break_ = paragraph();
  return (breaks ? "\n" : " ") + sentence();
}

std::string random_key(Random& random) {
  const std::size_t kind = below(random, 100);
  if (kind < 25) return std::string(pick(random, words::kPlaces));
  if (kind < 40) return std::string(pick(random, words::kNames));
  if (kind < 80) return colour_and_creature(random);
  std::string word;
  for (std::size_t i = between(random, 2, 3); i > 0; --i) word += pick(random, words::kSyllables);
  word[0] = static_cast<char>(word[0] - 32);
  return word;
}

std::string random_value(Random& random) { return std::to_string(between(random, 10000, 99999)); }

Fact random_fact(Random& random) {
  for (;;) {
    Fact fact{random_key(random), random_value(random)};
    if (held_out(fact)) return fact;
  }
}

std::string replaced(std::string text, std::string_view placeholder, std::string_view value) {
  for (std::size_t at = text.find(placeholder); at != std::string::npos;
       at = text.find(placeholder, at + value.size())) {
    text.replace(at, placeholder.size(), value);
  }
  return text;
}

}  // namespace thinkey::eval
