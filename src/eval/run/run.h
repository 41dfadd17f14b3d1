// Runs a task: every spec on every sample, each pair once, over as many interruptions as there are.
#pragma once

#include <cstddef>
#include <string>
#include <utility>
#include <vector>

#include "eval/run/result_file.h"
#include "eval/run/task.h"
#include "thinkey/model.h"

namespace thinkey::eval {

struct RunOutcome {
  std::vector<Record> records;  // of this task's samples and specs, in that order
  std::vector<std::pair<std::string, std::string>> skipped;  // sample id, reason
  std::size_t resumed = 0;                                   // pairs that were in the file already
  std::size_t non_finite = 0;                                // of those skipped, for NaN or infinite logits
  bool partial = false;                                      // interrupted: some samples were not reached
};

// Pairs that `file` has are not measured again. Error(Usage) for an empty list, or a spec given twice.
[[nodiscard]] RunOutcome run(const Task& task, const std::vector<CacheSpec>& specs, ResultFile& file,
                             const Hooks& hooks);

// What the file holds of this task: the samples that are complete under every spec. For a run that an
// exception ended.
[[nodiscard]] RunOutcome complete_part(const Task& task, const std::vector<CacheSpec>& specs,
                                       const ResultFile& file);

// What identifies `task` on `model` in a result file; the precision of products belongs to it.
[[nodiscard]] RunIdentity identify(const Task& task, const Model& model);

}  // namespace thinkey::eval
