// LongBench's files: samples (NAME.jsonl), prompts and answer lengths, checked before anything runs.
#pragma once

#include <cstdint>
#include <filesystem>
#include <limits>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "eval/longbench/longbench_tasks.h"

namespace thinkey::eval {

struct LongBenchSample {
  std::string task;  // the file's name: "qasper", of LongBench-E "qasper_e"
  std::string id;    // its _id
  std::string input, context;
  std::vector<std::string> answers, classes;
  std::optional<std::size_t> length = {};  // in words (characters, in Chinese) as the file says
};

// What a directory of LongBench says about how tasks are asked.
struct LongBenchPrompts {
  std::map<std::string, std::string, std::less<>> prompts;         // by task
  std::map<std::string, std::size_t, std::less<>> max_new_tokens;  // by task
  bool official_prompts = false, official_lengths = false;         // from the directory's files, not our own

  // `prompt` with the sample in it, as Python's str.format fills it in.
  [[nodiscard]] std::string fill(const LongBenchSample& sample) const;
};

// The directory's dataset2prompt.json and dataset2maxlen.json (also in its folder config/), and our own
// for what they lack. Error(Data) for a prompt with other fields than {context} and {input}.
[[nodiscard]] LongBenchPrompts read_longbench_prompts(const std::filesystem::path& directory);

struct LongBenchFile {
  std::string task;
  std::vector<LongBenchSample> samples;
  std::string fingerprint;  // of the file's bytes
};

// The first `limit` samples of every named task, or (no names) of every task whose file is there; files lie
// in the directory or in its folder data/. `extended`: LongBench-E's files. Error(Usage) for an unknown
// task; Error(Data) with file and line for a missing file, a missing or wrong field, an _id that occurs
// twice, an answer the task's metric cannot read.
[[nodiscard]] std::vector<LongBenchFile> read_longbench(
    const std::filesystem::path& directory, const std::vector<std::string>& names, bool extended,
    std::size_t limit = std::numeric_limits<std::size_t>::max());

// A prediction with what it is compared with, as the official script writes it: fields pred, answers,
// all_classes (classification), length.
struct LongBenchPrediction {
  std::string prediction;
  std::vector<std::string> answers, classes;
  std::optional<std::size_t> length = {};
};

// Error(Data) with file and line.
[[nodiscard]] std::vector<LongBenchPrediction> read_predictions(const LongBenchTask& task,
                                                                const std::filesystem::path& path);

}  // namespace thinkey::eval
