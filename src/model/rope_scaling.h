// The angles of rotary position embedding, with the context-extension schemes of model files applied. All
// follow transformers' modeling_rope_utils in double precision.
#pragma once

#include <cstdint>
#include <vector>

namespace thinkey {

// Frequency of pair i of `rotated` channels: theta^(-2i / rotated). [rotated / 2]
[[nodiscard]] std::vector<double> base_frequencies(std::size_t rotated, double theta);

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

// YaRN (2309.00071, section 3.2): pairs that turn more than beta_fast times within the original context stay,
// those that turn less than beta_slow times are slowed by `factor`, with a linear ramp over pairs between.
struct YarnScaling {
  double factor = 1;
  double beta_fast = 32, beta_slow = 1;
  double original_context = 4096;
  double theta = 10000;
  bool truncate = true;  // the ramp's ends are whole pairs
};
void apply_yarn_scaling(std::vector<double>& frequencies, const YarnScaling& scaling);
// Its attention factor: 0.1 * mscale * ln(factor) + 1.
[[nodiscard]] double yarn_magnitude(double factor, double mscale = 1.0);

// LongRoPE's (2402.13753) attention factor.
[[nodiscard]] double longrope_magnitude(double factor, double original_context);

[[nodiscard]] std::vector<float> to_floats(const std::vector<double>& values);

}  // namespace thinkey
