// The end of attention whose keys were split into sets: joined by their log-sum-exps.
#pragma once

#include <cstddef>

#include "backend/attention_shape.h"

namespace thinkey {

// Joins attention over two disjoint sets of keys: out_a [rows, D] and lse_a become those of the union. A
// row that saw nothing has lse = -inf.
void merge_attention(std::size_t rows, std::size_t head_dim, float* out_a, float* lse_a, const float* out_b,
                     const float* lse_b);

// Lets the layer's sinks join the softmax of n queries: out [n, H, D], and lse [n, H] becomes the log-sum-exp
// with them. Once, after all keys have been joined; nothing to do where the layer has none.
void apply_sinks(const AttentionShape& shape, std::size_t n, float* out, float* lse);

}  // namespace thinkey
