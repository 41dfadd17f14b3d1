#include "eval/longbench/longbench_metrics.h"

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <map>
#include <vector>

#include "base/fail.h"
#include "eval/longbench/unicode_text.h"

namespace thinkey::eval {
namespace {

using Words = std::vector<std::u32string>;

bool is_ascii_punctuation(char32_t c) noexcept {
  return (c >= 0x21 && c <= 0x2F) || (c >= 0x3A && c <= 0x40) || (c >= 0x5B && c <= 0x60) ||
         (c >= 0x7B && c <= 0x7E);
}

// The official list: neither a Unicode category nor whole blocks (it has the closing U+300B, not U+300A).
bool is_chinese_punctuation(char32_t c) noexcept {
  static constexpr std::u32string_view kOthers =
      U"\u2013\u2014\u2018\u2019\u201B\u201C\u201D\u201E\u201F\u2026\u2027\uFE4F"        // dashes, quotes
      U"\u3001\u3002\u3003\u3030\u303E\u303F"                                            // ideographic
      U"\uFF01\uFF1A\uFF1B\uFF1F\uFF3B\uFF3C\uFF3D\uFF3E\uFF3F\uFF40\uFF1C\uFF1D\uFF1E"  // full width
      U"\uFF20\uFF5B\uFF5C\uFF5D\uFF5E\uFF5F\uFF60\uFF61\uFF62\uFF63\uFF64";
  return (c >= 0xFF02 && c <= 0xFF0F && c != 0xFF0E) || (c >= 0x300B && c <= 0x3011) ||
         (c >= 0x3014 && c <= 0x301F) || kOthers.find(c) != std::u32string_view::npos;
}

// Lower case without punctuation; articles are dropped as words of their own.
Words english_words(std::string_view text) {
  std::u32string kept;
  for (const char32_t c : lower(decode_text(text))) {
    if (!is_ascii_punctuation(c)) kept += c;
  }
  // An article ends where no letter or digit follows, which need not be white space.
  std::u32string without;
  for (std::size_t i = 0; i < kept.size();) {
    if (!is_word(kept[i])) {
      without += kept[i++];
      continue;
    }
    std::size_t end = i;
    while (end < kept.size() && is_word(kept[end])) ++end;
    const std::u32string_view word = std::u32string_view(kept).substr(i, end - i);
    without += word == U"a" || word == U"an" || word == U"the" ? std::u32string_view(U" ") : word;
    i = end;
  }
  return split_words(without);
}

Words chinese_words(std::string_view text, const ChineseSegmenter& segmenter) {
  Words words;
  for (const std::u32string& word : segmenter.cut(decode_text(text))) {
    std::u32string kept;
    for (const char32_t c : lower(word)) {
      if (!is_ascii_punctuation(c) && !is_chinese_punctuation(c) && !is_space(c)) kept += c;
    }
    if (!kept.empty()) words.push_back(std::move(kept));
  }
  return words;
}

double f1(const Words& prediction, const Words& reference) {
  std::map<std::u32string_view, std::size_t> left;
  for (const std::u32string& word : reference) ++left[word];
  std::size_t same = 0;
  for (const std::u32string& word : prediction) {
    const auto found = left.find(word);
    if (found == left.end() || found->second == 0) continue;
    --found->second;
    ++same;
  }
  if (same == 0) return 0.0;
  const double precision = static_cast<double>(same) / static_cast<double>(prediction.size());
  const double recall = static_cast<double>(same) / static_cast<double>(reference.size());
  return 2 * precision * recall / (precision + recall);
}

// Every maximal run of decimal digits, of any script.
Words numbers(std::u32string_view text) {
  Words found;
  for (std::size_t i = 0; i < text.size();) {
    const std::size_t begin = i;
    while (i < text.size() && is_decimal(text[i])) ++i;
    if (i > begin) {
      found.emplace_back(text.substr(begin, i - begin));
    } else {
      ++i;
    }
  }
  return found;
}

double share_equal_to(const Words& found, std::u32string_view wanted) {
  if (found.empty()) return 0.0;
  return static_cast<double>(std::count(found.begin(), found.end(), wanted)) /
         static_cast<double>(found.size());
}

double paragraph_score(std::string_view prediction, std::string_view reference, std::u32string_view label) {
  const std::u32string text = decode_text(reference);
  for (std::size_t at = text.find(label); at != std::u32string::npos; at = text.find(label, at + 1)) {
    const std::size_t digits = at + label.size();
    if (digits < text.size() && is_decimal(text[digits])) {
      return share_equal_to(numbers(decode_text(prediction)), numbers(text.substr(digits)).front());
    }
  }
  fail_data("the reference \"{}\" does not say \"{}\" and a number", reference, encode_text(label));
}

}  // namespace

double qa_f1(std::string_view prediction, std::string_view reference) {
  return f1(english_words(prediction), english_words(reference));
}

double qa_f1_zh(std::string_view prediction, std::string_view reference, const ChineseSegmenter& segmenter) {
  return f1(chinese_words(prediction, segmenter), chinese_words(reference, segmenter));
}

double classification_score(std::string_view prediction, std::string_view reference,
                            std::span<const std::string> classes) {
  std::vector<std::string_view> found;
  for (const std::string& name : classes) {
    if (prediction.find(name) != std::string_view::npos) found.emplace_back(name);
  }
  // The script removes from the list it walks along: after a removal the next name is skipped, and it is
  // the name's first occurrence that goes.
  for (std::size_t i = 0; i < found.size(); ++i) {
    const std::string_view name = found[i];
    if (name != reference && reference.find(name) != std::string_view::npos) {
      found.erase(std::find(found.begin(), found.end(), name));
    }
  }
  const bool right = std::find(found.begin(), found.end(), reference) != found.end();
  return right ? 1.0 / static_cast<double>(found.size()) : 0.0;
}

double retrieval_score(std::string_view prediction, std::string_view reference) {
  return paragraph_score(prediction, reference, U"Paragraph ");
}

double retrieval_score_zh(std::string_view prediction, std::string_view reference) {
  return paragraph_score(prediction, reference, U"\u6BB5\u843D");
}

double count_score(std::string_view prediction, std::string_view reference) {
  return share_equal_to(numbers(decode_text(prediction)), decode_text(reference));
}

}  // namespace thinkey::eval
