// LongBench (arXiv 2308.14508): a model's answers to the benchmark's files, under every cache spec.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "eval/longbench/longbench_samples.h"
#include "eval/longbench/longbench_tasks.h"
#include "eval/report/report.h"
#include "eval/run/prompt.h"
#include "eval/run/run.h"
#include "eval/run/task.h"

namespace thinkey::eval {

struct LongBenchOptions {
  ChatUse chat = ChatUse::Auto;  // of tasks that the benchmark asks as a chat
  std::size_t context = 0;       // most tokens of prompt and answer; 0: the model's
  std::size_t max_length = 0;  // most tokens of a prompt before the chat template; 0: what the context allows
  EditRatio edit_ratio = EditRatio::Difflib;
};

// `text` cut in its middle so that `encoder` makes at most `room` tokens of it, and it is at most
// `max_length` tokens by itself (0: no such limit): the same number of tokens from both ends, as the
// official script does. Throws SampleSkipped when nothing fits.
[[nodiscard]] std::vector<std::int32_t> encode_truncated(const PromptEncoder& encoder, std::string_view text,
                                                         std::size_t max_length, std::size_t room);

[[nodiscard]] Task longbench_evaluation(std::shared_ptr<const Model> model, std::vector<LongBenchFile> files,
                                        LongBenchPrompts prompts,
                                        std::shared_ptr<const ChineseSegmenter> segmenter,
                                        const LongBenchOptions& options);

// Scores are the official script's, in percent: a task's is the mean over its samples, an average that
// over tasks. Records have the labels task, kind and (LongBench-E) length.
[[nodiscard]] Report longbench_report(const RunIdentity& identity, const RunOutcome& outcome);

}  // namespace thinkey::eval
