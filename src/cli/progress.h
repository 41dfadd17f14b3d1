// A progress bar on standard error for a long prefill; silent when nobody is looking.
#pragma once

#include <chrono>
#include <cstdint>
#include <string>

#include "thinkey/session.h"

namespace thinkey::cli {

class PrefillProgress {
 public:
  // `tokens`: of the prompt, for the rate. `visible`: draw at all (see standard_error_is_terminal()).
  PrefillProgress(std::size_t tokens, bool visible);
  ~PrefillProgress();
  PrefillProgress(const PrefillProgress&) = delete;
  PrefillProgress& operator=(const PrefillProgress&) = delete;

  // For Session::prefill(); throws Interrupted after Ctrl-C. Must not outlive this object.
  [[nodiscard]] Session::Progress callback();

 private:
  void update(double done, double total);
  void erase();

  using Clock = std::chrono::steady_clock;
  std::size_t tokens_;
  bool visible_;
  bool drawn_ = false;
  Clock::time_point start_;
  Clock::time_point latest_;
};

// One line of the bar: share done in [0, 1], seconds so far, prompt tokens.
[[nodiscard]] std::string progress_line(double share, double seconds, std::size_t tokens);

[[nodiscard]] bool standard_error_is_terminal();

}  // namespace thinkey::cli
