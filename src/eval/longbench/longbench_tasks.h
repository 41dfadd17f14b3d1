// LongBench's tasks (arXiv 2308.14508): which metric, how many tokens, whether a chat template is used.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "eval/longbench/chinese_segmenter.h"
#include "eval/longbench/longbench_metrics.h"

namespace thinkey::eval {

enum class LongBenchMetric : std::uint8_t {
  QaF1,
  QaF1Zh,
  RougeL,
  RougeLZh,
  Classification,
  Retrieval,
  RetrievalZh,
  Count,
  CodeSimilarity,
};

enum class LongBenchGroup : std::uint8_t { SingleDocument, MultiDocument, Summary, FewShot, Synthetic, Code };

struct LongBenchTask {
  std::string_view name;  // as the benchmark's files are called
  LongBenchGroup group;
  LongBenchMetric metric;
  bool english = true;
  // Few-shot and code tasks continue a text: no chat template.
  bool chat = true;
  // Only the prediction's first line counts.
  bool first_line = false;
  std::size_t max_new_tokens = 0;  // dataset2maxlen.json's; a file in the data directory takes its place
  // Our own wording, with {context} and {input}; dataset2prompt.json in the data directory takes its place.
  std::string_view prompt;
};

[[nodiscard]] std::span<const LongBenchTask> longbench_tasks() noexcept;
// Error(Usage) naming the choices. LongBench-E's "NAME_e" is task NAME.
[[nodiscard]] const LongBenchTask& longbench_task(std::string_view name);
[[nodiscard]] std::string_view group_name(LongBenchGroup group) noexcept;     // "single-document QA"
[[nodiscard]] std::string_view metric_name(LongBenchMetric metric) noexcept;  // "QA F1"

// How scores are computed where the official script leaves a choice to what is installed.
struct ScoreOptions {
  const ChineseSegmenter& segmenter;
  EditRatio edit_ratio = EditRatio::Difflib;
};

// The best score over the references, in [0, 1], of what counts of the prediction. `classes`: of
// classification tasks. Error(Data) for a reference the metric cannot read.
[[nodiscard]] double longbench_score(const LongBenchTask& task, std::string_view prediction,
                                     std::span<const std::string> references,
                                     std::span<const std::string> classes, const ScoreOptions& options);

// LongBench-E's buckets by the sample's length in words: "0-4k", "4-8k", "8k+".
[[nodiscard]] std::string_view length_bucket(std::size_t length) noexcept;

}  // namespace thinkey::eval
