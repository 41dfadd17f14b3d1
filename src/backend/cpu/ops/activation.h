#pragma once

#include <cstddef>

#include "backend/stages.h"

namespace thinkey {

// out[i] = activation(gate[i]) combined with up[i], as `Activation` says; without a gate, of up[i] alone. out
// may be gate. Parallel when n is large.
void gated_activation(Activation activation, const float* gate, const float* up, std::size_t n, float* out);

// out[i] += x[i]
void add(const float* x, std::size_t n, float* out);

// x[i] *= factor
void scale(float factor, std::size_t n, float* x);

}  // namespace thinkey
