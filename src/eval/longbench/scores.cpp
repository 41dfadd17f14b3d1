#include "eval/longbench/scores.h"

#include <utf8proc.h>

#include <algorithm>
#include <map>
#include <utility>

#include "formats/printable.h"

namespace thinkey::eval {
namespace {

// Words of letters and digits, lower case. Characters outside ASCII count as letters.
std::map<std::string, int> words(std::string_view text) {
  std::map<std::string, int> counts;
  std::string word;
  for (const char c : lower_case(text) + " ") {
    const bool inside =
        (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || (static_cast<unsigned char>(c) & 0x80U) != 0;
    if (inside) {
      word += c;
    } else if (!word.empty()) {
      ++counts[std::exchange(word, {})];
    }
  }
  return counts;
}

}  // namespace

std::string lower_case(std::string_view text) {
  std::string out;
  out.reserve(text.size());
  for (std::size_t at = 0; at < text.size();) {
    const auto byte = static_cast<unsigned char>(text[at]);
    if (byte < 0x80) {
      out += byte >= 'A' && byte <= 'Z' ? static_cast<char>(byte + 32) : text[at];
      ++at;
      continue;
    }
    const std::size_t length = utf8_length(text.substr(at));
    utf8proc_int32_t code = 0;
    if (length == 0 || utf8proc_iterate(reinterpret_cast<const utf8proc_uint8_t*>(text.data() + at),
                                        static_cast<utf8proc_ssize_t>(length), &code) < 0) {
      out += text[at++];
      continue;
    }
    utf8proc_uint8_t encoded[4];
    const utf8proc_ssize_t n = utf8proc_encode_char(utf8proc_tolower(code), encoded);
    out.append(reinterpret_cast<const char*>(encoded), static_cast<std::size_t>(n));
    at += length;
  }
  return out;
}

std::string_view trimmed(std::string_view text) {
  constexpr std::string_view kSpace = " \t\r\n\f\v";
  const std::size_t first = text.find_first_not_of(kSpace);
  if (first == std::string_view::npos) return {};
  return text.substr(first, text.find_last_not_of(kSpace) - first + 1);
}

double match_all(std::string_view prediction, const std::vector<std::string>& references) {
  if (references.empty()) return 0.0;
  const std::string lower = lower_case(prediction);
  const auto found = std::count_if(references.begin(), references.end(), [&](const std::string& reference) {
    return lower.find(lower_case(reference)) != std::string::npos;
  });
  return static_cast<double>(found) / static_cast<double>(references.size());
}

double match_part(std::string_view prediction, const std::vector<std::string>& references) {
  return match_all(prediction, references) > 0.0 ? 1.0 : 0.0;
}

double rouge1_recall(std::string_view prediction, const std::vector<std::string>& references) {
  const std::map<std::string, int> predicted = words(prediction);
  double best = 0.0;
  for (const std::string& reference : references) {
    int all = 0;
    int shared = 0;
    for (const auto& [word, count] : words(reference)) {
      all += count;
      const auto found = predicted.find(word);
      if (found != predicted.end()) shared += std::min(count, found->second);
    }
    if (all > 0) best = std::max(best, static_cast<double>(shared) / static_cast<double>(all));
  }
  return best;
}

}  // namespace thinkey::eval
