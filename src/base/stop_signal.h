// SIGINT and SIGTERM, taken by a thread of their own.
//
// No other thread ever has a signal's frame put on its stack: generated code (oneDNN's) may have pointed the
// stack pointer into the heap at that moment, and a frame there destroys what lies below it.
#pragma once

namespace thinkey {

// Starts the thread. To be called once, before any other thread exists: threads inherit that they do not take
// these signals. Until catch_stop_signals() a signal ends the program as it does by default.
void start_stop_signals();

// From now on the first signal only sets what stop_signal() gives; a second one before it is cleared ends the
// program at once with 128 + the signal's number.
void catch_stop_signals();

// The signal that came (SIGINT, SIGTERM), 0 when none did.
[[nodiscard]] int stop_signal() noexcept;
void clear_stop_signal() noexcept;

// Readable from the signal until it is cleared, for poll(); -1 before start_stop_signals().
[[nodiscard]] int stop_descriptor() noexcept;

}  // namespace thinkey
