// How an evaluation shows itself on standard error: a bar with the time left, and warnings.
#pragma once

#include <chrono>
#include <cstddef>
#include <string>

#include "eval/run/task.h"

namespace thinkey::cli {

class EvalProgress {
 public:
  using Clock = std::chrono::steady_clock;

  // `terminal`: a bar that is redrawn. Otherwise a line each time `between` has passed, for log files.
  EvalProgress(std::string task, bool terminal, Clock::duration between = std::chrono::minutes(1));
  ~EvalProgress();
  EvalProgress(const EvalProgress&) = delete;
  EvalProgress& operator=(const EvalProgress&) = delete;

  // Ctrl-C ends the run at the next checkpoint with Interrupted. Must not outlive this object.
  [[nodiscard]] eval::Hooks hooks();
  // Takes the bar away; nothing is drawn any more.
  void finish();

 private:
  void draw(bool now);
  void erase();

  std::string task_;
  bool terminal_;
  Clock::duration between_;
  bool finished_ = false;
  bool drawn_ = false;
  std::size_t done_ = 0, all_ = 0, resumed_ = 0;
  double part_ = 0.0;  // of the current sample
  Clock::time_point start_, latest_;
};

// "needle [####......]  40%  sample 9 of 20  1:05 left". `share`: of all samples; `measured`: of those that
// were not found in the result file, which the time left is reckoned from.
[[nodiscard]] std::string eval_progress_line(const std::string& task, std::size_t sample, std::size_t all,
                                             double share, double measured, double seconds);

}  // namespace thinkey::cli
