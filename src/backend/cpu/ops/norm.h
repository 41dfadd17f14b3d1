#pragma once

#include <cstddef>

#include "backend/network.h"

namespace thinkey {

// RMSNorm: out[t, i] = x[t, i] / sqrt(mean_i(x[t]^2) + epsilon) * weight[i]; rows in parallel. out may be x.
void rms_norm(const float* x, const float* weight, float epsilon, std::size_t rows, std::size_t width,
              float* out);

// A network's norm of x [rows, width], in place; nothing where the norm is not there.
void normalise(const Norm& norm, std::size_t rows, std::size_t width, float* x);

}  // namespace thinkey
