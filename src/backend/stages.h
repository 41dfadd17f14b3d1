// What the stages of a decoder layer compute, as plain numbers. A model's spec (model/spec.h) is made of
// these; a backend gets them together with the weights (backend/network.h).
//
// In the shapes: d width, H query heads, Hkv KV heads, D head dimension, F feed-forward width, E experts.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "backend/attention_shape.h"

namespace thinkey {

enum class NormKind : std::uint8_t {
  Rms,    // x / sqrt(mean x^2 + epsilon) * weight
  Layer,  // (x - mean x) / sqrt(var x + epsilon) * weight + bias
};

// Which coordinates form a rotated pair: (2i, 2i+1), or (i, i + R/2) of the R rotated ones.
enum class RopePairs : std::uint8_t { Interleaved, HalfSplit };

// Rotary position embedding (RoFormer, 2104.09864) with its context extension: pair i of a head is rotated at
// position p by the angle p * frequencies[i], and multiplied by `magnitude`.
struct RopeSpec {
  RopePairs pairs = RopePairs::HalfSplit;
  std::size_t rotated = 0;                 // leading channels of a head that are rotated, R
  std::vector<float> inverse_frequencies;  // [R/2]
  float magnitude = 1.0F;                  // YaRN's and LongRoPE's attention factor

  // Of sequences longer than `limit` tokens; 0: there is no limit. As in the reference implementation the
  // length counted is that of the call: the whole prompt, and in decode everything so far.
  std::size_t limit = 0;
  std::vector<float> long_inverse_frequencies;  // LongRoPE (2402.13753): others; [R/2] or empty
  double dynamic_factor = 0.0;                  // dynamic NTK: the base grows with the length; 0: it does not

  double theta = 10000.0;
  std::string scaling = "none";  // "linear", "llama3", "yarn", "longrope", "dynamic": for display

  bool operator==(const RopeSpec&) const = default;
};

// [R/2] for a sequence of `length` tokens: the spec's own, or computed into `scratch`.
[[nodiscard]] std::span<const float> rope_frequencies(const RopeSpec& rope, std::size_t length,
                                                      std::vector<float>& scratch);

enum class QkNorm : std::uint8_t {
  None,
  PerHead,  // RMSNorm of each head's D numbers (Qwen3, Gemma 3)
  Whole,    // of all heads' together (OLMo 2)
};

struct AttentionSpec {
  AttentionShape shape;
  bool sinks = false;  // shape.sinks will be a tensor
  QkNorm qk_norm = QkNorm::None;
  int rope = 0;  // index of the model's table; -1: no positions (SmolLM3's NoPE layers)
  // Queries at position p are multiplied by 1 + beta ln(1 + floor(p / every)) (Ministral 3); 0: they are not.
  float position_beta = 0.0F;
  float position_every = 1.0F;
};

enum class Activation : std::uint8_t {
  Silu,           // gate / (1 + exp(-gate)) * up
  GeluTanh,       // gelu(gate), by its tanh approximation, * up
  ReluSquared,    // max(up, 0)^2, without a gate
  ClampedSwiglu,  // gpt-oss: gate' sigmoid(1.702 gate') (up' + 1), gate' = min(gate, 7), up' = clamp(up, -7,
                  // 7)
};
[[nodiscard]] constexpr bool is_gated(Activation a) noexcept { return a != Activation::ReluSquared; }

struct ExpertSpec {
  std::size_t count = 0;  // E; 0: one dense feed-forward
  std::size_t used = 0;   // best of them per token, by the router's logits
  // Weights: softmax over all experts, or over the used ones only (which equals normalising the former).
  bool normalised = false;
};

struct FeedForwardSpec {
  std::size_t width = 0;  // F, of one expert if there are experts
  Activation activation = Activation::Silu;
  ExpertSpec experts;
};

}  // namespace thinkey
