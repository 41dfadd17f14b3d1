// ROUGE-L at summary level, as the Python package `rouge` 1.0.1 computes it (its defaults: `exclusive`
// n-grams, so words are sets).
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <unordered_map>
#include <utility>
#include <vector>

#include "base/fail.h"
#include "eval/longbench/longbench_metrics.h"
#include "eval/longbench/unicode_text.h"

namespace thinkey::eval {
namespace {

using Sentence = std::vector<std::int32_t>;  // words as numbers

// Numbers for words, the same for prediction and reference.
class Numbering {
 public:
  std::int32_t operator()(const std::u32string& word) {
    return numbers_.try_emplace(word, static_cast<std::int32_t>(numbers_.size())).first->second;
  }
  [[nodiscard]] std::size_t size() const noexcept { return numbers_.size(); }

 private:
  std::unordered_map<std::u32string, std::int32_t> numbers_;
};

// A sentence of white space only counts, as one empty word.
std::vector<Sentence> sentences(std::u32string_view text, Numbering& number) {
  std::vector<Sentence> all;
  for (const std::u32string_view part : split_at(text, U'.')) {
    if (part.empty()) continue;
    Sentence sentence;
    for (const std::u32string& word : split_words(part)) sentence.push_back(number(word));
    if (sentence.empty()) sentence.push_back(number({}));
    all.push_back(std::move(sentence));
  }
  return all;
}

// Marks the words of one longest common subsequence of x and y; where there are several, the one the
// package finds.
void mark_common(const Sentence& x, const Sentence& y, std::vector<bool>& common) {
  constexpr std::size_t kMostCells = std::size_t{1} << 34U;
  if (x.size() > kMostCells / y.size()) {
    fail_data("ROUGE-L of sentences of {} and {} words needs too much memory", x.size(), y.size());
  }
  // up[i * columns + j]: the table's cell above (i + 1, j + 1) is larger than the one to its left.
  const std::size_t columns = y.size();
  std::vector<bool> up(x.size() * columns);
  std::vector<std::uint32_t> above(columns + 1, 0);
  std::vector<std::uint32_t> row(columns + 1, 0);
  for (std::size_t i = 0; i < x.size(); ++i) {
    for (std::size_t j = 0; j < columns; ++j) {
      row[j + 1] = x[i] == y[j] ? above[j] + 1 : std::max(above[j + 1], row[j]);
      up[i * columns + j] = above[j + 1] > row[j];
    }
    std::swap(above, row);
  }
  std::size_t i = x.size();
  std::size_t j = columns;
  while (i > 0 && j > 0) {
    if (x[i - 1] == y[j - 1]) {
      common[static_cast<std::size_t>(x[i - 1])] = true;
      --i;
      --j;
    } else if (up[(i - 1) * columns + j - 1]) {
      --i;
    } else {
      --j;
    }
  }
}

double distinct_words(const std::vector<Sentence>& text) {
  Sentence words;
  for (const Sentence& sentence : text) words.insert(words.end(), sentence.begin(), sentence.end());
  std::sort(words.begin(), words.end());
  return static_cast<double>(std::unique(words.begin(), words.end()) - words.begin());
}

double score(std::u32string_view prediction, std::u32string_view reference) {
  Numbering number;
  const std::vector<Sentence> predicted = sentences(prediction, number);
  const std::vector<Sentence> wanted = sentences(reference, number);
  if (predicted.empty() || wanted.empty()) return 0.0;
  std::vector<bool> common(number.size(), false);
  for (const Sentence& sentence : wanted) {
    for (const Sentence& other : predicted) mark_common(sentence, other, common);
  }
  const auto shared = static_cast<double>(std::count(common.begin(), common.end(), true));
  const double recall = shared / distinct_words(wanted);
  const double precision = shared / distinct_words(predicted);
  constexpr double kNotZero = 1e-8;
  return 2.0 * ((precision * recall) / (precision + recall + kNotZero));
}

std::u32string spaced(std::string_view text, const ChineseSegmenter& segmenter) {
  std::u32string joined;
  for (const std::u32string& word : segmenter.cut(decode_text(text))) {
    if (!joined.empty()) joined += U' ';
    joined += word;
  }
  return joined;
}

}  // namespace

double rouge_l(std::string_view prediction, std::string_view reference) {
  return score(decode_text(prediction), decode_text(reference));
}

double rouge_l_zh(std::string_view prediction, std::string_view reference,
                  const ChineseSegmenter& segmenter) {
  return score(spaced(prediction, segmenter), spaced(reference, segmenter));
}

}  // namespace thinkey::eval
