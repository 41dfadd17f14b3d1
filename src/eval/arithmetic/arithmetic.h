// Arithmetic word problems answered with a chain of thought: the cache is compressed while the chain is
// generated, and one wrong number in it spoils the answer. Caches that keep needles may still lose these.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>

#include "eval/report/report.h"
#include "eval/run/prompt.h"
#include "eval/run/run.h"
#include "eval/run/task.h"

namespace thinkey::eval {

struct ArithmeticOptions {
  std::vector<std::size_t> steps = {4, 8};  // of a problem
  std::size_t samples = 20;                 // per number of steps
  std::size_t shots = 4;                    // worked examples in the prompt
  std::size_t max_tokens = 320;             // of an answer
  std::size_t context = 0;
  std::uint64_t seed = 1;
};

// Scored 1 where the number an answer states is right. Error(Usage) for options that make no sense.
[[nodiscard]] Task arithmetic_task(std::shared_ptr<const Model> model, ChatUse chat,
                                   const ArithmeticOptions& options);

// The table over caches, and by number of steps.
[[nodiscard]] Report arithmetic_report(const RunIdentity& identity, const RunOutcome& outcome);

}  // namespace thinkey::eval
