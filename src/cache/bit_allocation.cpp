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

// Of a channel, its share of scale and minimum included; pairs taken as full.
double bytes_per_token(int step) {
  if (step < 0) return 0.0;
  const ElementFormat format = kAscending[step];
  const double scales = format == ElementFormat::F16 ? 0.0 : 2.0 * sizeof(f16_bits) / kBlockTokens;
  return static_cast<double>(element_bits(format)) / 8.0 + scales;
}

}  // namespace

KeyPlan allocate_bits(std::span<const float> dropped, std::span<const float> noise, std::size_t rows,
                      ElementFormat format) {
  constexpr int kSteps = 4;
  std::vector<Channel> channels(dropped.size());
  for (std::size_t j = 0; j < channels.size(); ++j) channels[j] = {finite(dropped[j]), finite(noise[j])};

  const std::size_t most = key_bytes(uniform_keys(rows, format));
  KeyPlan plan;
  const auto count = [&](int step) -> std::size_t& {
    return plan.formats[static_cast<std::size_t>(kAscending[step])];
  };
  for (;;) {
    Channel* best = nullptr;
    int best_step = -1;
    double best_gain = -1.0;
    for (Channel& channel : channels) {
      for (int step = channel.step + 1; step < kSteps; ++step) {
        const double saved = channel.error(channel.step) - channel.error(step);
        const double gain = saved / (bytes_per_token(step) - bytes_per_token(channel.step));
        if (saved < 0.0 || gain <= best_gain) continue;
        if (channel.step >= 0) --count(channel.step);
        ++count(step);
        const bool fits = key_bytes(plan.formats) <= most;
        if (channel.step >= 0) ++count(channel.step);
        --count(step);
        if (!fits) break;
        best = &channel;
        best_step = step;
        best_gain = gain;
      }
    }
    if (best == nullptr) break;
    if (best->step >= 0) --count(best->step);
    ++count(best_step);
    best->step = best_step;
  }

  for (int step = kSteps - 1; step >= 0; --step) {  // stored in the order of ElementFormat: most bits first
    for (std::size_t j = 0; j < channels.size(); ++j) {
      if (channels[j].step == step) plan.channels.push_back(static_cast<std::int32_t>(j));
    }
  }
  return plan;
}

}  // namespace thinkey
