#include "base/stop_signal.h"

#include <fcntl.h>
#include <pthread.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <csignal>
#include <thread>

#include "base/emergency.h"

namespace thinkey {
namespace {

constexpr int kSignals[] = {SIGINT, SIGTERM};

std::atomic<int> received{0};
std::atomic<bool> caught{false};
int pipe_ends[2] = {-1, -1};

sigset_t stop_set() noexcept {
  sigset_t set;
  sigemptyset(&set);
  for (const int signal : kSignals) sigaddset(&set, signal);
  return set;
}

// Async-signal-safe: should some library's thread take signals after all, this is also the handler.
void note(int signal) noexcept {
  const int error = errno;
  if (received.exchange(signal) != 0) {
    remove_temporary_files();
    ::_exit(128 + signal);
  }
  const char byte = 0;
  static_cast<void>(::write(pipe_ends[1], &byte, 1) == 1);
  errno = error;
}

extern "C" void on_stop_signal(int signal) { note(signal); }

[[noreturn]] void wait_for_signals() {
  const sigset_t set = stop_set();
  for (;;) {
    int signal = 0;
    if (sigwait(&set, &signal) != 0) continue;
    if (caught.load()) {
      note(signal);
      continue;
    }
    // As if it had never been held back.
    remove_temporary_files();
    pthread_sigmask(SIG_UNBLOCK, &set, nullptr);
    static_cast<void>(std::raise(signal));
    pthread_sigmask(SIG_BLOCK, &set, nullptr);  // whoever started us has it ignored
  }
}

}  // namespace

void start_stop_signals() {
  if (pipe_ends[0] >= 0 || ::pipe2(pipe_ends, O_CLOEXEC | O_NONBLOCK) != 0) return;
  const sigset_t set = stop_set();
  pthread_sigmask(SIG_BLOCK, &set, nullptr);
  std::thread(wait_for_signals).detach();
}

void catch_stop_signals() {
  struct sigaction action = {};
  action.sa_handler = on_stop_signal;
  sigemptyset(&action.sa_mask);
  action.sa_flags = SA_ONSTACK | SA_RESTART;
  for (const int signal : kSignals) sigaction(signal, &action, nullptr);
  caught.store(true);
}

int stop_signal() noexcept { return received.load(); }

void clear_stop_signal() noexcept {
  char bytes[16];
  while (::read(pipe_ends[0], bytes, sizeof(bytes)) > 0) {
  }
  received.store(0);
}

int stop_descriptor() noexcept { return pipe_ends[0]; }

}  // namespace thinkey
