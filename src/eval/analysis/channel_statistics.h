// ThinK's two observations (2407.21018, section 3.1) on a layer's queries, keys and values: how unevenly
// magnitude is spread over channels, and how few directions the attention logits need.
#pragma once

#include <cstddef>
#include <memory>
#include <span>
#include <vector>

#include "cache/sequence_cache.h"
#include "model/forward.h"

namespace thinkey::eval {

// Of one KV head; [D] each.
struct ChannelMagnitudes {
  std::vector<double> unrotated_keys;  // root mean square over the prompt's tokens, before RoPE
  std::vector<double> keys;            // after RoPE
  std::vector<double> values;
};

// Of a matrix of rank at most D: element r - 1 is the share of its squared Frobenius norm (the sum of its
// squared singular values) that the r largest singular values hold. [D], ascending to 1.
using EnergyCurve = std::vector<double>;

struct LayerStatistics {
  std::vector<ChannelMagnitudes> magnitudes;  // [Hkv]
  std::vector<EnergyCurve> keys, values;      // [Hkv], of K after RoPE and V, [T, D]
  std::vector<EnergyCurve> logits;            // [H], of Q K^T, [T, T] without the causal mask
};

// The share of sum x^2 that the ceil(share * D) largest of D magnitudes hold.
[[nodiscard]] double top_share(std::span<const double> magnitudes, double share);
// The smallest number of singular values that hold `share` of the energy.
[[nodiscard]] std::size_t rank_for(const EnergyCurve& curve, double share);

// Sums up one layer, chunk by chunk, in memory that does not grow with the prompt: Q K^T has the singular
// values of (K^T K)^1/2 (Q^T Q)^1/2, and the two D x D matrices of each head are all that is kept.
class LayerSums {
 public:
  explicit LayerSums(const AttentionShape& shape);
  ~LayerSums();
  LayerSums(const LayerSums&) = delete;
  LayerSums& operator=(const LayerSums&) = delete;

  void add(const AttentionInputs& inputs);
  // The statistics of what was added; afterwards nothing is.
  [[nodiscard]] LayerStatistics finish();

 private:
  struct Sums;
  AttentionShape shape_;
  std::size_t tokens_ = 0;
  std::unique_ptr<Sums> sums_;
};

}  // namespace thinkey::eval
