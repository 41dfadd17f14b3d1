// RULER: thirteen kinds of long-context questions at chosen lengths, made by our own generators.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "eval/report/report.h"
#include "eval/ruler/ruler_tasks.h"
#include "eval/run/prompt.h"
#include "eval/run/run.h"
#include "eval/run/task.h"

namespace thinkey::eval {

struct RulerOptions {
  std::vector<std::string> tasks;    // RULER's names; empty: all thirteen
  std::vector<std::size_t> lengths;  // tokens of prompt and answer together
  std::size_t samples = 10;          // per task and length
  std::string haystack, qa_1, qa_2;  // what the sources were made from, for the record; "": made up
  std::size_t context = 0;
  std::uint64_t seed = 1;
};

// Error(Usage) for an unknown task. A sample whose question alone is longer than its length is skipped.
[[nodiscard]] Task ruler_task(std::shared_ptr<const Model> model, ChatUse chat, RulerSources sources,
                              const RulerOptions& options);

// Tables by task, category and length; a heat map task x length per cache.
[[nodiscard]] Report ruler_report(const RunIdentity& identity, const RunOutcome& outcome);

}  // namespace thinkey::eval
