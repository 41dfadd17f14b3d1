#include "cli/eval_progress.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <utility>

#include "cli/interrupt.h"
#include "cli/output.h"

namespace thinkey::cli {
namespace {

constexpr auto kBetweenDraws = std::chrono::milliseconds(200);
constexpr int kBarWidth = 24;
constexpr const char* kEraseLine = "\r\033[K";

std::string time_left(double seconds) {
  const auto left = static_cast<long>(std::ceil(seconds));
  if (left >= 3600) return fmt::format("{}:{:02d}:{:02d}", left / 3600, left / 60 % 60, left % 60);
  return fmt::format("{}:{:02d}", left / 60, left % 60);
}

}  // namespace

std::string eval_progress_line(const std::string& task, std::size_t sample, std::size_t all, double share,
                               double measured, double seconds) {
  share = std::clamp(share, 0.0, 1.0);
  const int filled = static_cast<int>(std::lround(share * kBarWidth));
  std::string line = fmt::format("{} [{:#<{}}{:.<{}}] {:3.0f}%  sample {} of {}", task, "", filled, "",
                                 kBarWidth - filled, 100.0 * share, sample, all);
  if (measured > 0.0) line += fmt::format("  {} left", time_left(seconds * (1.0 - measured) / measured));
  return line;
}

EvalProgress::EvalProgress(std::string task, bool terminal, Clock::duration between)
    : task_(std::move(task)),
      terminal_(terminal),
      between_(terminal ? Clock::duration(kBetweenDraws) : between),
      start_(Clock::now()),
      latest_(start_) {}

EvalProgress::~EvalProgress() { erase(); }

eval::Hooks EvalProgress::hooks() {
  eval::Hooks hooks;
  hooks.checkpoint = [this] {
    if (interrupted()) throw Interrupted();
    if (!terminal_) draw(false);  // samples that take long report no parts of themselves
  };
  hooks.sample_progress = [this](double part) {
    part_ = part;
    draw(false);
  };
  hooks.run_progress = [this](std::size_t done, std::size_t all, std::size_t resumed) {
    done_ = done;
    all_ = all;
    resumed_ = resumed;
    part_ = 0.0;
    draw(true);
  };
  hooks.warn = [this](const std::string& message) {
    erase();
    print_message("thinkey: {}\n", one_line(message));
  };
  return hooks;
}

void EvalProgress::draw(bool now) {
  if (finished_ || all_ == 0) return;
  const auto time = Clock::now();
  if ((!now || !terminal_) && time - latest_ < between_) return;
  latest_ = time;
  drawn_ = terminal_;
  const double done = static_cast<double>(done_) + part_;
  const auto all = static_cast<double>(all_);
  const auto resumed = static_cast<double>(resumed_);
  const double measured = all > resumed ? (done - resumed) / (all - resumed) : 0.0;
  write_message((terminal_ ? kEraseLine : "") +
                eval_progress_line(task_, std::min(done_ + 1, all_), all_, done / all, measured,
                                   std::chrono::duration<double>(time - start_).count()) +
                (terminal_ ? "" : "\n"));
}

void EvalProgress::finish() {
  erase();
  finished_ = true;
}

void EvalProgress::erase() {
  if (drawn_) write_message(kEraseLine);
  drawn_ = false;
}

}  // namespace thinkey::cli
