#include <pthread.h>

#include <chrono>
#include <csignal>
#include <new>

#include "binding.h"
#include "thinkey/error.h"

namespace thinkey::python {

struct Computing::Mask {
  sigset_t before;
};

Computing::Computing() : mask_(std::make_unique<Mask>()) {
  sigset_t all;
  sigfillset(&all);
  // Those that tell of a fault where it happens must get through.
  for (const int fault : {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGABRT, SIGTRAP}) sigdelset(&all, fault);
  pthread_sigmask(SIG_BLOCK, &all, &mask_->before);
}
Computing::~Computing() { open(); }

void Computing::open() noexcept { pthread_sigmask(SIG_SETMASK, &mask_->before, nullptr); }
void Computing::close() noexcept {
  sigset_t all;
  sigfillset(&all);
  for (const int fault : {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGABRT, SIGTRAP}) sigdelset(&all, fault);
  pthread_sigmask(SIG_BLOCK, &all, nullptr);
}

Session::Progress interruptible(Computing& computing, const nb::object& callback) {
  using Clock = std::chrono::steady_clock;
  // A Ctrl-C is answered within this time and the current step's.
  static constexpr auto kPatience = std::chrono::milliseconds(20);
  return [&computing, &callback, asked = Clock::now()](double done, double total) mutable {
    const auto now = Clock::now();
    if (callback.is_none() && now - asked < kPatience) return;
    asked = now;
    computing.in_python([&] {
      if (!callback.is_none()) callback(done, total);
    });
  };
}

}  // namespace thinkey::python

NB_MODULE(_core, m) {
  namespace py = thinkey::python;
  m.doc() = "The engine, as thinkey's modules use it.";
  m.attr("version") = THINKEY_VERSION;
  nanobind::exception<thinkey::Error>(m, "Error", PyExc_ValueError).attr("__doc__") =
      "What the engine refuses: one line that says what is wrong, where, and how to mend it.";
  py::bind_cache_spec(m);
  py::bind_cache_report(m);
  py::bind_chat(m);
  py::bind_model(m);
  py::bind_session(m);
  py::bind_generate(m);
  py::bind_kv_cache(m);
  py::bind_evaluate(m);
}
