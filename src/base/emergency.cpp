#include "base/emergency.h"

#include <unistd.h>

#include <array>
#include <csignal>
#include <cstring>
#include <mutex>
#include <utility>

namespace thinkey {
namespace {

std::atomic<EmergencyEntry*> mapped_files{nullptr};
std::atomic<EmergencyEntry*> temporary_files{nullptr};

std::mutex& changes() {
  static std::mutex mutex;
  return mutex;
}

void complain(const char* text) noexcept {
  static_cast<void>(::write(STDERR_FILENO, text, std::strlen(text)) > 0);
}

extern "C" void on_bus_error(int signal, siginfo_t* info, void* /*context*/) {
  for (const EmergencyEntry* file = mapped_files.load(); file != nullptr; file = file->next()) {
    if (!file->holds(info->si_addr)) continue;
    // Several threads may read the same lost page: the first one speaks and ends the program.
    static std::atomic_flag spoken = ATOMIC_FLAG_INIT;
    while (spoken.test_and_set()) ::pause();
    complain("thinkey: ");
    complain(file->path());
    complain(": cut short or no longer readable while it was in use; restore the file and start again\n");
    remove_temporary_files();
    ::_exit(1);
  }
  std::signal(signal, SIG_DFL);  // NOLINT(cert-err33-c): the instruction runs again, and that is the end
}

}  // namespace

EmergencyEntry::EmergencyEntry(Kind kind, std::string path, const void* begin, std::size_t bytes)
    : path_(std::move(path)),
      begin_(static_cast<const std::byte*>(begin)),
      bytes_(bytes),
      head_(kind == Kind::MappedFile ? &mapped_files : &temporary_files) {
  const std::scoped_lock lock(changes());
  next_.store(head_->load());
  head_->store(this);
}

EmergencyEntry::~EmergencyEntry() {
  const std::scoped_lock lock(changes());
  std::atomic<EmergencyEntry*>* link = head_;
  while (link->load() != this) link = &link->load()->next_;
  link->store(next_.load());
}

void remove_temporary_files() noexcept {
  for (const EmergencyEntry* file = temporary_files.load(); file != nullptr; file = file->next()) {
    ::unlink(file->path());
  }
}

void report_lost_mappings() {
  // A stack of its own, since the fault may come while generated code has pointed the stack elsewhere.
  static std::array<std::byte, std::size_t{64} << 10U> memory;
  stack_t stack = {};
  stack.ss_sp = memory.data();
  stack.ss_size = memory.size();
  sigaltstack(&stack, nullptr);
  struct sigaction action = {};
  action.sa_sigaction = on_bus_error;
  sigemptyset(&action.sa_mask);
  action.sa_flags = SA_SIGINFO | SA_ONSTACK;
  sigaction(SIGBUS, &action, nullptr);
}

}  // namespace thinkey
