#include "cache/bit_allocation.h"

#include <algorithm>
#include <cmath>
#include <vector>

namespace thinkey {
namespace {

constexpr ElementFormat kAscending[] = {ElementFormat::Q2, ElementFormat::Q4, ElementFormat::Q8,
                                        ElementFormat::I16};

// A broken model's NaN or infinity must not upset the comparisons.
double finite(float x) { return std::isfinite(x) ? static_cast<double>(x) : 0.0; }

struct Channel {
  double dropped = 0.0, noise = 0.0;
  int step = -1;  // index into kAscending; -1: dropped

  [[nodiscard]] double error(int at) const {
    if (at < 0) return dropped;
    const ElementFormat format = kAscending[at];
    if (format == ElementFormat::I16) return 0.0;
    const auto steps = static_cast<double>((1U << element_bits(format)) - 1U);
    return noise / (steps * steps);
  }
};

constexpr int kSteps = 4;

// Channels per step, and what they cost.
struct Counts {
  std::size_t at[kSteps] = {};

  // Bytes of a block's keys, without the exponents that any 16-bit rows bring.
  [[nodiscard]] std::size_t bytes() const {
    std::size_t sum = 0;
    for (int s = 0; s < kSteps; ++s) {
      sum += at[s] * (key_run_bytes(kAscending[s], 2) - key_run_bytes(kAscending[s], 1));
    }
    return sum;
  }
  [[nodiscard]] Counts after(int from, int to) const {
    Counts next = *this;
    if (from >= 0) --next.at[from];
    if (to >= 0) ++next.at[to];
    return next;
  }
};

struct Allocation {
  std::vector<Channel> channels;
  int steps;  // the first so many of kAscending may be used
  Counts counts;

  [[nodiscard]] double error() const {
    double sum = 0.0;
    for (const Channel& channel : channels) sum += channel.error(channel.step);
    return sum;
  }

  void move(Channel& channel, int to) {
    counts = counts.after(channel.step, to);
    channel.step = to;
  }

  // Gives channels more bits, the most error saved per byte first, while the bytes do not exceed `most`.
  void raise(std::size_t most) {
    for (;;) {
      const std::size_t now = counts.bytes();
      Channel* best = nullptr;
      int best_step = -1;
      double best_gain = -1.0;
      for (Channel& channel : channels) {
        for (int step = channel.step + 1; step < steps; ++step) {
          const std::size_t then = counts.after(channel.step, step).bytes();
          if (then > most) continue;
          const double saved = channel.error(channel.step) - channel.error(step);
          const double gain = saved / static_cast<double>(then - now);
          if (gain > best_gain && saved >= 0.0) {
            best = &channel;
            best_step = step;
            best_gain = gain;
          }
        }
      }
      if (best == nullptr) return;
      move(*best, best_step);
    }
  }
};

}  // namespace

KeyPlan allocate_bits(std::span<const float> dropped, std::span<const float> noise, std::size_t rows,
                      ElementFormat format) {
  std::vector<Channel> unplaced;
  for (std::size_t j = 0; j < dropped.size(); ++j) {
    unplaced.push_back({finite(dropped[j]), finite(noise[j])});
  }
  const std::size_t most = key_run_bytes(format, rows);
  const auto allocate = [&](int steps, std::size_t exponents) {
    Allocation allocation{unplaced, steps, {}};
    allocation.raise(most - std::min(most, exponents));
    return allocation;
  };
  const Allocation with_exponents = allocate(kSteps, kBlockTokens);
  const Allocation without = allocate(kSteps - 1, 0);

  const std::vector<Channel>& channels =
      with_exponents.error() < without.error() ? with_exponents.channels : without.channels;
  KeyPlan plan;
  for (int step = kSteps - 1; step >= 0; --step) {  // stored in the order of ElementFormat: most bits first
    for (std::size_t j = 0; j < channels.size(); ++j) {
      if (channels[j].step != step) continue;
      plan.channels.push_back(static_cast<std::int32_t>(j));
      ++plan.formats[static_cast<std::size_t>(kAscending[step])];
    }
  }
  return plan;
}

}  // namespace thinkey
