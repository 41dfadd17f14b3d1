#include "cli/progress.h"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <cmath>

#include "cli/interrupt.h"
#include "cli/output.h"

namespace thinkey::cli {

namespace {

constexpr double kQuietSeconds = 0.5;  // a short prefill shows no bar
constexpr auto kBetweenDraws = std::chrono::milliseconds(100);
constexpr int kBarWidth = 30;
constexpr const char* kEraseLine = "\r\033[K";

}  // namespace

std::string progress_line(double share, double seconds, std::size_t tokens) {
  share = std::clamp(share, 0.0, 1.0);
  const int filled = static_cast<int>(std::lround(share * kBarWidth));
  std::string line =
      fmt::format("prefill [{:#<{}}{:.<{}}] {:3.0f}%", "", filled, "", kBarWidth - filled, 100.0 * share);
  if (share > 0.0 && seconds > 0.0) {
    const double rate = share * static_cast<double>(tokens) / seconds;
    const auto left = static_cast<std::size_t>(std::ceil(seconds * (1.0 - share) / share));
    line += fmt::format("  {:.0f} tokens/s  {}:{:02d} left", rate, left / 60, left % 60);
  }
  return line;
}

bool standard_error_is_terminal() { return ::isatty(STDERR_FILENO) == 1; }

PrefillProgress::PrefillProgress(std::size_t tokens, bool visible)
    : tokens_(tokens), visible_(visible), start_(Clock::now()), latest_(start_) {}

PrefillProgress::~PrefillProgress() { erase(); }

Session::Progress PrefillProgress::callback() {
  return [this](double done, double total) { update(done, total); };
}

void PrefillProgress::update(double done, double total) {
  if (interrupted()) throw Interrupted();
  if (!visible_) return;
  if (done >= total) {
    erase();
    return;
  }
  const auto now = Clock::now();
  const double seconds = std::chrono::duration<double>(now - start_).count();
  if (seconds < kQuietSeconds || now - latest_ < kBetweenDraws) return;
  latest_ = now;
  drawn_ = true;
  write_message(kEraseLine + progress_line(done / total, seconds, tokens_));
}

void PrefillProgress::erase() {
  if (drawn_) write_message(kEraseLine);
  drawn_ = false;
}

}  // namespace thinkey::cli
