// Ctrl-C as a flag that loops look at, instead of a death.
#pragma once

#include <exception>

namespace thinkey::cli {

// Thrown where work is given up because of Ctrl-C and there is nothing to keep of it.
class Interrupted : public std::exception {
 public:
  [[nodiscard]] const char* what() const noexcept override { return "interrupted"; }
};

// From now on the first SIGINT only sets the flag; a second one before it is cleared ends the program.
void catch_interrupts();
[[nodiscard]] bool interrupted() noexcept;
void clear_interrupt() noexcept;

inline constexpr int kInterruptedExit = 130;  // the shell's 128 + SIGINT

}  // namespace thinkey::cli
