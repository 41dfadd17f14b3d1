#include "cache/bit_allocation.h"

#include <algorithm>
#include <cmath>
#include <queue>
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

// Bytes of a channel in a block's keys, without the exponents that any 16-bit rows bring.
std::size_t channel_bytes(int step) {
  return step < 0 ? 0 : key_run_bytes(kAscending[step], 2) - key_run_bytes(kAscending[step], 1);
}

struct Allocation {
  std::vector<Channel> channels;
  int steps;  // the first so many of kAscending may be used

  [[nodiscard]] double error() const {
    double sum = 0.0;
    for (const Channel& channel : channels) sum += channel.error(channel.step);
    return sum;
  }

  // Gives channels more bits, the most error saved per byte first, while the bytes do not exceed `left`.
  void raise(std::size_t left) {
    struct Raise {
      double gain;  // error saved per byte
      std::size_t channel;
      int from, to;
      bool operator<(const Raise& other) const {  // comes later
        if (gain != other.gain) return gain < other.gain;
        return channel != other.channel ? channel > other.channel : to > other.to;
      }
    };
    std::priority_queue<Raise> raises;
    const auto offer = [&](std::size_t j) {
      const Channel& channel = channels[j];
      for (int step = channel.step + 1; step < steps; ++step) {
        const double saved = channel.error(channel.step) - channel.error(step);
        const std::size_t bytes = channel_bytes(step) - channel_bytes(channel.step);
        if (saved >= 0.0 && bytes <= left) {
          raises.push({saved / static_cast<double>(bytes), j, channel.step, step});
        }
      }
    };
    for (std::size_t j = 0; j < channels.size(); ++j) offer(j);
    while (!raises.empty()) {
      const Raise best = raises.top();
      raises.pop();
      Channel& channel = channels[best.channel];
      const std::size_t bytes = channel_bytes(best.to) - channel_bytes(best.from);
      if (channel.step != best.from || bytes > left) continue;
      channel.step = best.to;
      left -= bytes;
      offer(best.channel);
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
    Allocation allocation{unplaced, steps};
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
