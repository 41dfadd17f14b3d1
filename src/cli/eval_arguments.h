// Options that all evaluations share, and what they all do: run, resume, report.
#pragma once

#include <CLI/CLI.hpp>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "cli/options.h"
#include "eval/report/report.h"
#include "eval/run/prompt.h"
#include "eval/run/run.h"

namespace thinkey::cli {

struct EvalArguments {
  ModelArguments model;
  std::vector<std::string> specs = {"full"};
  std::string results;
  bool fresh = false;
  std::string json;
  std::string markdown;
  std::string html;
  std::size_t context = 0;
  std::string chat = "auto";

  // -m, -t, --prefill-precision, --cache, -c, --results, --fresh, --json, --markdown, --html
  void add(CLI::App& app);
  void add_chat(CLI::App& app);  // --chat

  [[nodiscard]] std::vector<CacheSpec> parse_specs() const;
  [[nodiscard]] eval::ChatUse chat_use() const;
  // Refuses, before the model is loaded, report files that cannot be written.
  void check_outputs() const;

  using MakeReport = std::function<eval::Report(const eval::RunIdentity&, const eval::RunOutcome&)>;
  // Runs the task, prints the report's texts and tables, and writes its JSON and HTML files. The exit code:
  // 0, or 1 when no sample could be measured.
  [[nodiscard]] int run(const eval::Task& task, const Model& model, const MakeReport& make_report) const;
};

// Prints the report, and writes it where the options say ("" for nowhere).
void publish(const eval::Report& report, const std::string& json, const std::string& html,
             const std::string& markdown = {});

// "1024,2048,4096" or "1k,2k" (1k = 1024): token counts. Error(Usage) names option and word.
[[nodiscard]] std::vector<std::size_t> parse_counts(const std::string& option,
                                                    const std::vector<std::string>& words);

}  // namespace thinkey::cli
