#include "cli/score_arguments.h"

namespace thinkey::cli {

void ScoreArguments::add(CLI::App& app) {
  app.add_option("--jieba", jieba,
                 "Directory of an installed jieba, for Chinese words; default: where Debian's python3-jieba "
                 "puts it, single characters if it is not there; none: single characters")
      ->type_name("DIR");
  app.add_option("--code-similarity", similarity,
                 "fuzzywuzzy's ratio with difflib, as the official requirements install it, or with "
                 "python-Levenshtein")
      ->check(CLI::IsMember({"difflib", "levenshtein"}))
      ->type_name("NAME");
}

std::shared_ptr<const eval::ChineseSegmenter> ScoreArguments::segmenter() const {
  using eval::ChineseSegmenter;
  if (jieba == "none") return std::make_shared<const ChineseSegmenter>();
  return std::make_shared<const ChineseSegmenter>(jieba.empty() ? ChineseSegmenter::installed()
                                                                : ChineseSegmenter::jieba(jieba));
}

}  // namespace thinkey::cli
