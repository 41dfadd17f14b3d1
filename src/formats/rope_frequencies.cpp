#include "formats/rope_frequencies.h"

#include <cmath>
#include <cstddef>
#include <numbers>

namespace thinkey {

std::vector<double> rope_frequencies(std::int64_t head_dim, double theta) {
  std::vector<double> frequencies(static_cast<std::size_t>(head_dim / 2));
  for (std::size_t i = 0; i < frequencies.size(); ++i) {
    frequencies[i] = std::pow(theta, -2.0 * static_cast<double>(i) / static_cast<double>(head_dim));
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

std::vector<float> to_floats(const std::vector<double>& values) {
  std::vector<float> out;
  out.reserve(values.size());
  for (const double value : values) out.push_back(static_cast<float>(value));
  return out;
}

}  // namespace thinkey
