// LongBench's metrics (arXiv 2308.14508, table 1) with the rules of its official script: each compares a
// prediction with one reference, both UTF-8, and gives a score in [0, 1]. longbench_tasks.h says which task
// uses which.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>

#include "eval/longbench/chinese_segmenter.h"

namespace thinkey::eval {

// F1 over the words both have, counted with multiplicity. English: lower case, without ASCII punctuation
// and articles.
[[nodiscard]] double qa_f1(std::string_view prediction, std::string_view reference);
// Chinese: over the segmenter's words, lower case and without punctuation.
[[nodiscard]] double qa_f1_zh(std::string_view prediction, std::string_view reference,
                              const ChineseSegmenter& segmenter);

// ROUGE-L's F as the Python package `rouge` 1.0.1 computes it: a sentence ends at every full stop, the
// longest common subsequences of a reference sentence with every predicted one are united, and all words
// count once. 0 where either side has no sentence.
[[nodiscard]] double rouge_l(std::string_view prediction, std::string_view reference);
// The same over the segmenter's words.
[[nodiscard]] double rouge_l_zh(std::string_view prediction, std::string_view reference,
                                const ChineseSegmenter& segmenter);

// 1 / (class names that occur in the prediction), if the reference is among them. Class names that are part
// of the reference's do not count, as far as the official script notices them.
[[nodiscard]] double classification_score(std::string_view prediction, std::string_view reference,
                                          std::span<const std::string> classes);

// The share of the prediction's numbers that are the reference's paragraph ("Paragraph 7", Chinese
// "段落7"). Error(Data) when the reference names none.
[[nodiscard]] double retrieval_score(std::string_view prediction, std::string_view reference);
[[nodiscard]] double retrieval_score_zh(std::string_view prediction, std::string_view reference);

// The share of the prediction's numbers that are the reference.
[[nodiscard]] double count_score(std::string_view prediction, std::string_view reference);

// Which implementation of fuzzywuzzy's ratio: it takes python-Levenshtein's where that is installed, and
// Python's difflib otherwise. The official requirements do not install python-Levenshtein.
enum class EditRatio : std::uint8_t {
  Difflib,      // Ratcliff-Obershelp matching blocks, frequent characters of long lines ignored
  Levenshtein,  // 1 - (insertions + deletions) / (both lengths)
};

// Similarity, in hundredths, of the prediction's first line that is neither comment nor Markdown.
[[nodiscard]] double code_similarity(std::string_view prediction, std::string_view reference,
                                     EditRatio ratio = EditRatio::Difflib);

}  // namespace thinkey::eval
