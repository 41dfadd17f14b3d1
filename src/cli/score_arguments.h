// How LongBench's scores are computed where the official script uses what is installed.
#pragma once

#include <CLI/CLI.hpp>
#include <memory>
#include <string>

#include "eval/longbench/chinese_segmenter.h"
#include "eval/longbench/longbench_metrics.h"

namespace thinkey::cli {

// --jieba, --code-similarity
struct ScoreArguments {
  std::string jieba;
  std::string similarity = "difflib";

  void add(CLI::App& app);
  // Loads jieba's tables, if any; takes a third of a second.
  [[nodiscard]] std::shared_ptr<const eval::ChineseSegmenter> segmenter() const;
  [[nodiscard]] eval::EditRatio edit_ratio() const {
    return similarity == "difflib" ? eval::EditRatio::Difflib : eval::EditRatio::Levenshtein;
  }
};

}  // namespace thinkey::cli
