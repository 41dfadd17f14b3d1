#include "cache/bit_allocation.h"

#include <cmath>
#include <vector>

namespace thinkey {
namespace {

constexpr ElementFormat kAscending[] = {ElementFormat::Q2, ElementFormat::Q4, ElementFormat::Q8,
                                        ElementFormat::F16};

// A broken model's NaN or infinity must not upset the comparisons.
double finite(float x) { return std::isfinite(x) ? static_cast<double>(x) : 0.0; }

struct Channel {
  double dropped = 0.0, noise = 0.0;
  int step = -1;  // index into kAscending; -1: dropped

  [[nodiscard]] double error(int at) const {
    if (at < 0) return dropped;
    const ElementFormat format = kAscending[at];
    if (format == ElementFormat::F16) return 0.0;
    const auto steps = static_cast<double>((1U << element_bits(format)) - 1U);
    return noise / (steps * steps);
  }
};

}  // namespace

KeyPlan allocate_bits(std::span<const float> dropped, std::span<const float> noise, std::size_t rows,
                      ElementFormat format) {
  constexpr int kSteps = 4;
  std::vector<Channel> channels(dropped.size());
  for (std::size_t j = 0; j < channels.size(); ++j) channels[j] = {finite(dropped[j]), finite(noise[j])};

  std::size_t left = rows * key_row_bytes(format);  // bytes of a block
  for (;;) {
    Channel* best = nullptr;
    int best_step = -1;
    double best_gain = -1.0;
    for (Channel& channel : channels) {
      const std::size_t now = channel.step < 0 ? 0 : key_row_bytes(kAscending[channel.step]);
      for (int step = channel.step + 1; step < kSteps; ++step) {
        const std::size_t more = key_row_bytes(kAscending[step]) - now;
        if (more > left) break;
        const double saved = channel.error(channel.step) - channel.error(step);
        const double gain = saved / static_cast<double>(more);
        if (gain > best_gain && saved >= 0.0) {
          best = &channel;
          best_step = step;
          best_gain = gain;
        }
      }
    }
    if (best == nullptr) break;
    left -=
        key_row_bytes(kAscending[best_step]) - (best->step < 0 ? 0 : key_row_bytes(kAscending[best->step]));
    best->step = best_step;
  }

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
