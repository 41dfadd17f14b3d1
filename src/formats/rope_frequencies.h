// The angles of rotary position embedding, with the context-extension schemes of model files applied.
#pragma once

#include <cstdint>
#include <vector>

namespace thinkey {

// Frequency of pair i of a head of `head_dim` channels: theta^(-2i / head_dim). [head_dim / 2]
[[nodiscard]] std::vector<double> rope_frequencies(std::int64_t head_dim, double theta);

// LLaMA-3.1's scaling: wavelengths longer than original_context / low_frequency_factor are slowed by
// `factor`, those shorter than original_context / high_frequency_factor stay, with a linear blend
// (in original_context / wavelength) between the two.
struct Llama3Scaling {
  double factor = 1;
  double low_frequency_factor = 1;
  double high_frequency_factor = 4;
  double original_context = 8192;
};
void apply_llama3_scaling(std::vector<double>& frequencies, const Llama3Scaling& scaling);

[[nodiscard]] std::vector<float> to_floats(const std::vector<double>& values);

}  // namespace thinkey
