#pragma once

#include <cstddef>

namespace thinkey {

// SwiGLU: out[i] = gate[i] / (1 + exp(-gate[i])) * up[i]; out may be gate. Parallel when n is large.
void swiglu(const float* gate, const float* up, std::size_t n, float* out);

// out[i] += x[i]
void add(const float* x, std::size_t n, float* out);

}  // namespace thinkey
