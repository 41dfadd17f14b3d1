#include "model/rope_scaling.h"

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <numbers>

namespace thinkey {

std::vector<double> base_frequencies(std::size_t rotated, double theta) {
  std::vector<double> frequencies(rotated / 2);
  for (std::size_t i = 0; i < frequencies.size(); ++i) {
    frequencies[i] = std::pow(theta, -2.0 * static_cast<double>(i) / static_cast<double>(rotated));
  }
  return frequencies;
}

void apply_llama3_scaling(std::vector<double>& frequencies, const Llama3Scaling& scaling) {
  const double longest = scaling.original_context / scaling.low_frequency_factor;
  const double shortest = scaling.original_context / scaling.high_frequency_factor;
  for (double& frequency : frequencies) {
    const double wavelength = 2.0 * std::numbers::pi / frequency;
    const double slowed = frequency / scaling.factor;
    if (wavelength > longest) {
      frequency = slowed;
    } else if (wavelength >= shortest) {
      const double smooth = (scaling.original_context / wavelength - scaling.low_frequency_factor) /
                            (scaling.high_frequency_factor - scaling.low_frequency_factor);
      frequency = (1.0 - smooth) * slowed + smooth * frequency;
    }
  }
}

void apply_yarn_scaling(std::vector<double>& frequencies, const YarnScaling& scaling) {
  const auto rotated = static_cast<double>(2 * frequencies.size());
  // The pair that turns `turns` times within the original context.
  const auto pair = [&](double turns) {
    return rotated * std::log(scaling.original_context / (turns * 2.0 * std::numbers::pi)) /
           (2.0 * std::log(scaling.theta));
  };
  double first = pair(scaling.beta_fast);
  double last = pair(scaling.beta_slow);
  if (scaling.truncate) {
    first = std::floor(first);
    last = std::ceil(last);
  }
  first = std::max(first, 0.0);
  last = std::min(last, rotated - 1.0);
  if (first == last) last += 0.001;
  for (std::size_t i = 0; i < frequencies.size(); ++i) {
    const double slowed = std::clamp((static_cast<double>(i) - first) / (last - first), 0.0, 1.0);
    frequencies[i] *= slowed / scaling.factor + (1.0 - slowed);
  }
}

double yarn_magnitude(double factor, double mscale) {
  return factor <= 1.0 ? 1.0 : 0.1 * mscale * std::log(factor) + 1.0;
}

double longrope_magnitude(double factor, double original_context) {
  return factor <= 1.0 ? 1.0 : std::sqrt(1.0 + std::log(factor) / std::log(original_context));
}

std::vector<float> to_floats(const std::vector<double>& values) {
  std::vector<float> out;
  out.reserve(values.size());
  for (const double value : values) out.push_back(static_cast<float>(value));
  return out;
}

}  // namespace thinkey
