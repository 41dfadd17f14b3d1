// A random layer and a double-precision model of what its compressed cache must answer.
#pragma once

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <random>
#include <set>
#include <vector>

#include "base/half.h"
#include "cache/sequence_cache.h"

namespace thinkey::test {

struct RandomPrompt {
  CacheShape shape;
  std::size_t tokens;
  std::vector<float> q, k, v;  // [T, H, D], [Hkv, T, D]
  std::mt19937_64 random;

  RandomPrompt(const CacheShape& shape_, std::size_t tokens_, std::uint64_t seed)
      : shape(shape_), tokens(tokens_), random(seed) {
    q = normal(tokens * shape.query_heads * shape.head_dim);
    k = normal(shape.kv_heads * tokens * shape.head_dim);
    v = normal(k.size());
  }
  std::vector<float> normal(std::size_t n) {
    std::normal_distribution<float> gauss;
    std::vector<float> x(n);
    for (float& e : x) e = gauss(random);
    return x;
  }
  [[nodiscard]] PromptView view() const {
    PromptView p;
    p.tokens = p.queries = p.capacity = tokens;
    p.q = q.data();
    p.q_token_stride = shape.query_heads * shape.head_dim;
    p.q_head_stride = shape.head_dim;
    p.k = k.data();
    p.v = v.data();
    return p;
  }
};

// What one KV head holds, as a plain list: keys in f16 with pruned channels zeroed.
struct ReferenceHead {
  struct Token {
    std::int64_t position;
    std::vector<double> key, value;
  };
  std::vector<Token> tokens;

  static double rounded(float x) { return f32_from_f16(f16_from_f32(x)); }
  void add(std::int64_t position, const float* key, const float* value, std::size_t dim) {
    Token token{position, {}, {}};
    for (std::size_t i = 0; i < dim; ++i) {
      token.key.push_back(rounded(key[i]));
      token.value.push_back(rounded(value[i]));
    }
    tokens.push_back(std::move(token));
  }
  // Prunes all but the last `whole` tokens.
  void prune(const std::vector<std::int32_t>& kept_channels, std::size_t whole) {
    const std::set<std::int32_t> kept(kept_channels.begin(), kept_channels.end());
    for (std::size_t t = 0; t + whole < tokens.size(); ++t) {
      for (std::size_t i = 0; i < tokens[t].key.size(); ++i) {
        if (!kept.contains(static_cast<std::int32_t>(i))) tokens[t].key[i] = 0.0;
      }
    }
  }
  // Attention of one query row at `position`; returns the log-sum-exp.
  double attend(const float* q, std::int64_t position, std::size_t window, std::vector<double>& out) const {
    const std::size_t dim = out.size();
    std::vector<double> logits;
    double peak = -std::numeric_limits<double>::infinity();
    for (const Token& token : tokens) {
      double dot = 0.0;
      for (std::size_t i = 0; i < dim; ++i) dot += q[i] * token.key[i];
      const bool seen = window == 0 || token.position > position - static_cast<std::int64_t>(window);
      logits.push_back(seen ? dot / std::sqrt(static_cast<double>(dim))
                            : -std::numeric_limits<double>::infinity());
      peak = std::max(peak, logits.back());
    }
    std::fill(out.begin(), out.end(), 0.0);
    if (std::isinf(peak)) return peak;
    double sum = 0.0;
    for (std::size_t t = 0; t < tokens.size(); ++t) {
      const double weight = std::exp(logits[t] - peak);
      sum += weight;
      for (std::size_t i = 0; i < dim; ++i) out[i] += weight * tokens[t].value[i];
    }
    for (double& x : out) x /= sum;
    return peak + std::log(sum);
  }
};

}  // namespace thinkey::test
