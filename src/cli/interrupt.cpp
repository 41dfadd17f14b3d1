#include "cli/interrupt.h"

#include <unistd.h>

#include <csignal>

namespace thinkey::cli {

namespace {

volatile std::sig_atomic_t flag = 0;

extern "C" void on_interrupt(int) {
  if (flag != 0) ::_exit(kInterruptedExit);
  flag = 1;
}

}  // namespace

void catch_interrupts() {
  struct sigaction action = {};
  action.sa_handler = on_interrupt;
  sigemptyset(&action.sa_mask);
  action.sa_flags = 0;  // no SA_RESTART: a read from the terminal returns at once
  sigaction(SIGINT, &action, nullptr);
}

bool interrupted() noexcept { return flag != 0; }

void clear_interrupt() noexcept { flag = 0; }

}  // namespace thinkey::cli
