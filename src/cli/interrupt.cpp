#include "cli/interrupt.h"

#include <csignal>

#include "base/stop_signal.h"

namespace thinkey::cli {

void catch_interrupts() { catch_stop_signals(); }

bool interrupted() noexcept { return stop_signal() != 0; }

bool asked_to_end() noexcept { return stop_signal() == SIGTERM; }

void clear_interrupt() noexcept {
  if (!asked_to_end()) clear_stop_signal();
}

int interrupted_exit() noexcept { return 128 + (stop_signal() != 0 ? stop_signal() : SIGINT); }

}  // namespace thinkey::cli
