#pragma once

#include <cstddef>

namespace thinkey {

// RMSNorm: out[t, i] = x[t, i] / sqrt(mean_i(x[t]^2) + epsilon) * weight[i]; rows in parallel. out may be x.
void rms_norm(const float* x, const float* weight, float epsilon, std::size_t rows, std::size_t width,
              float* out);

}  // namespace thinkey
