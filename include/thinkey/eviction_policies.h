// The eviction policies and their options. A policy is one of these structs, one word in PolicyOptions, and
// one file, src/cache/policies/NAME.cpp, which names the options, checks them and scores tokens
// (docs/adding-a-policy.md). Formulas: docs/methods.md.
#pragma once

#include <cstdint>
#include <variant>

namespace thinkey {

enum class Pooling : std::uint8_t { Average, Max };

// All tokens are kept.
struct NoEviction {
  bool operator==(const NoEviction&) const = default;
};

// Those that the last prompt queries attend to (2404.14469).
struct SnapKV {
  std::size_t window = 32;  // S, the observation window: last prompt queries, always kept
  std::size_t kernel = 5;   // pooling width along tokens, odd
  Pooling pooling = Pooling::Average;
  bool operator==(const SnapKV&) const = default;
};

// Those that all prompt queries attend to, accumulated (2306.14048).
struct H2O {
  std::size_t window = 32;
  bool observe_window = false;  // sum over the window's queries only, as ThinK's public code does
  bool operator==(const H2O&) const = default;
};

// SnapKV with more budget in the lower layers (2406.02069).
struct PyramidKV {
  std::size_t window = 32;
  std::size_t kernel = 5;
  Pooling pooling = Pooling::Average;
  double beta = 20.0;  // the last layer's share of its mean budget is 1 / beta
  bool operator==(const PyramidKV&) const = default;
};

// The first and the last (2309.17453).
struct Streaming {
  std::size_t sinks = 4;  // first tokens kept
  bool operator==(const Streaming&) const = default;
};

// Those that the last query attends to, the same ones in every head (2401.06104).
struct Tova {
  bool operator==(const Tova&) const = default;
};

// Those that queries to come are expected to attend to, by the mean and covariance of the prompt's queries
// (2510.00636).
struct ExpectedAttention {
  std::size_t future = 512;  // positions after the prompt over which queries are averaged
  std::size_t sinks = 4;     // first tokens: always kept, and not part of the statistics
  bool covariance = true;
  bool output_norm = false;  // scores are weighted by |W_o v| instead of |v|
  double epsilon = 0.0;      // added to the expected attention before it is weighted
  std::size_t window = 128;  // with `every`: the latest queries stand for all
  bool operator==(const ExpectedAttention&) const = default;
};

// Those whose keys differ most from the mean key (2504.15364).
struct KeyDiff {
  bool operator==(const KeyDiff&) const = default;
};

// Those that the model attends to when it repeats the prompt (2505.23416): the prompt is run a second time.
struct KVzip {
  std::size_t sinks = 4;
  bool normalized = false;  // KVzip+: attention times |W_o v|, over the norm of the query's input
  bool operator==(const KVzip&) const = default;
};

// Outliers among the keys, and what queries near them attend to without a causal mask (2507.08143).
struct Compactor {
  std::size_t sinks = 8, recent = 4;  // first and last tokens kept
  std::size_t block = 256;            // queries and keys that see each other
  double blend = -1.0;                // weight of the outliers; negative: the share of tokens evicted
  bool operator==(const Compactor&) const = default;
};

// Those whose keys and values spread most, measured by the range of the tokens that follow (2504.04704).
struct LagKV {
  std::size_t sinks = 4;
  std::size_t lag = 128;  // tokens of a partition
  bool operator==(const LagKV&) const = default;
};

// Those that the latest queries attend to and that no later token resembles (R-KV, 2505.24133): for long
// generations, with `every`.
struct RKV {
  std::size_t window = 8;
  std::size_t kernel = 7;   // of the maximum along tokens
  double lambda = 0.1;      // weight of attention; 1 - lambda: of redundancy
  double similarity = 0.5;  // cosine from which keys resemble each other
  bool operator==(const RKV&) const = default;
};

using PolicyOptions = std::variant<NoEviction, SnapKV, H2O, PyramidKV, Streaming, Tova, ExpectedAttention,
                                   KeyDiff, KVzip, Compactor, LagKV, RKV>;

}  // namespace thinkey
