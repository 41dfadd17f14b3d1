#pragma once

#include <cstddef>
#include <limits>

namespace thinkey {

// x[i] = exp(x[i] - max) / sum over the row, in place, f32. A row of only -inf becomes zeros. The sum has
// exp(sink - max) in it too: the default adds nothing.
void softmax(float* x, std::size_t n, float sink = -std::numeric_limits<float>::infinity());

// x[i] = cap * tanh(x[i] / cap), relative error below 5e-7; cap 0: nothing happens.
void softcap(float* x, std::size_t n, float cap);

// x[i] = exp(x[i] - shift); returns the sum. The vectorised exp of every attention path: relative
// error below 2e-7 of exp at the f32 difference x[i] - shift, which may be up to 88; results
// below 1.2e-38 (e^-87.3) become 0, exp(-inf) = 0.
float exp_shifted(float* x, std::size_t n, float shift);

}  // namespace thinkey
