// Ctrl-C, and a polite request to end (SIGTERM), as a flag that loops look at, instead of a death.
#pragma once

#include <exception>

namespace thinkey::cli {

// Thrown where work is given up because of a signal and there is nothing to keep of it.
class Interrupted : public std::exception {
 public:
  [[nodiscard]] const char* what() const noexcept override { return "interrupted"; }
};

// From now on the first SIGINT or SIGTERM only sets the flag; a second one before it is cleared ends the
// program. See base/stop_signal.h.
void catch_interrupts();
[[nodiscard]] bool interrupted() noexcept;
[[nodiscard]] bool asked_to_end() noexcept;  // by SIGTERM, which no prompt for another line answers
void clear_interrupt() noexcept;

// The shell's 128 + signal, of the one that came (SIGINT if none).
[[nodiscard]] int interrupted_exit() noexcept;

}  // namespace thinkey::cli
