// A random layer, and a naive double-precision model of what its compressed cache must answer.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <random>
#include <span>
#include <vector>

#include "backend/cpu/ops/merge_attention.h"
#include "backend/cpu/store/cpu_layer_store.h"
#include "backend/cpu/store/levels.h"
#include "base/half.h"
#include "cache/layer_compression.h"
#include "cache/sequence_cache.h"

namespace thinkey::test {

// What the CPU's store holds of a layer.
inline const std::vector<HeadStore>& cpu_heads(const SequenceCache& cache, std::size_t layer) {
  return dynamic_cast<const CpuLayerStore&>(cache.layer(layer).store()).heads();
}

struct RandomPrompt {
  AttentionShape shape;
  std::size_t tokens;
  std::vector<float> q, k, v;  // [T, H, D], [Hkv, T, D]
  std::mt19937_64 random;

  RandomPrompt(const AttentionShape& shape_, std::size_t tokens_, std::uint64_t seed)
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

// What one KV head holds, as plain lists of numbers. It knows the head's decisions (which channels
// were kept) but does its own selecting, rounding, quantizing and attending.
class ReferenceHead {
 public:
  ReferenceHead(const HeadStore& head, const CacheSpec& spec, std::size_t dim)
      : head_(head), spec_(spec), dim_(dim) {}

  // The prompt's kept tokens; keys and values [T, D].
  void fill(std::span<const std::int32_t> kept, const float* keys, const float* values) {
    const std::size_t sinks = std::min<std::size_t>(kept.size(), most_sinks());
    for (const std::int32_t t : kept.first(sinks)) {
      sinks_.push_back(
          {t, {keys + t * dim_, keys + (t + 1) * dim_}, {values + t * dim_, values + (t + 1) * dim_}});
      round(sinks_.back());
    }
    kept = kept.subspan(sinks);
    std::size_t whole =
        spec_.compresses() ? std::min<std::size_t>(kept.size(), spec_.recent_tokens()) : kept.size();
    if (spec_.quantization.active()) whole += (kept.size() - whole) % 32;
    for (const std::int32_t t : kept) {
      recent_.push_back(
          {t, {keys + t * dim_, keys + (t + 1) * dim_}, {values + t * dim_, values + (t + 1) * dim_}});
    }
    while (recent_.size() > whole) retire(std::min<std::size_t>(32, recent_.size() - whole));
    for (Token& token : recent_) round(token);
  }
  // As the cache does before it appends: blocks that no query sees any more go.
  void forget_before(std::int64_t position) {
    while (!recent_.empty()) {
      const auto block = static_cast<std::ptrdiff_t>(std::min<std::size_t>(32, recent_.size()));
      if (recent_[static_cast<std::size_t>(block) - 1].position >= position) return;
      recent_.erase(recent_.begin(), recent_.begin() + block);
    }
  }
  void append(std::int64_t position, const float* key, const float* value) {
    auto& to = sinks_.size() < most_sinks() ? sinks_ : recent_;
    to.push_back({position, {key, key + dim_}, {value, value + dim_}});
    round(to.back());
    if (spec_.compresses() && recent_.size() >= static_cast<std::size_t>(spec_.recent_tokens()) + 32) {
      retire(32);
    }
  }

  // Attention of one row of query head `query_head` at `position`; returns the log-sum-exp. Sinks included.
  double attend(const AttentionShape& shape, const float* q, std::int64_t position, std::size_t query_head,
                std::vector<double>& out) const {
    const double scale = shape.scale != 0.0F ? shape.scale : 1.0 / std::sqrt(static_cast<double>(dim_));
    std::vector<float> reduced(head_.kept_keys().size());
    head_.kept_keys().reduce_query(q, reduced.data());
    const double bias = head_.kept_keys().bias(q);
    std::vector<double> logits;
    std::vector<const Token*> seen;
    const auto visit = [&](const Token& token, const auto& query, double constant) {
      const auto window = static_cast<std::int64_t>(shape.sliding_window);
      if (window > 0 && token.position <= position - window) return;
      double dot = constant;
      for (std::size_t i = 0; i < token.key.size(); ++i) dot += static_cast<double>(query[i]) * token.key[i];
      dot *= scale;
      logits.push_back(shape.softcap > 0.0F ? shape.softcap * std::tanh(dot / shape.softcap) : dot);
      seen.push_back(&token);
    };
    for (const Token& token : thin_) visit(token, reduced, bias);
    for (const Token& token : sinks_) visit(token, std::span(q, dim_), 0.0);
    for (const Token& token : recent_) visit(token, std::span(q, dim_), 0.0);

    std::fill(out.begin(), out.end(), 0.0);
    const bool sinks = shape.sinks != nullptr;
    if (seen.empty() && !sinks) return -std::numeric_limits<double>::infinity();
    if (sinks) logits.push_back(shape.sinks[query_head]);
    const double peak = *std::max_element(logits.begin(), logits.end());
    double sum = sinks ? std::exp(logits.back() - peak) : 0.0;
    for (std::size_t t = 0; t < seen.size(); ++t) {
      const double weight = std::exp(logits[t] - peak);
      sum += weight;
      for (std::size_t i = 0; i < dim_; ++i) out[i] += weight * seen[t]->value[i];
    }
    for (double& x : out) x /= sum;
    return peak + std::log(sum);
  }

 private:
  struct Token {
    std::int64_t position;
    std::vector<double> key;    // D' in the thin segment, D in the recent one
    std::vector<double> value;  // D, zeros where pruned
  };

  static double rounded(double x) { return f32_from_f16(f16_from_f32(static_cast<float>(x))); }

  // 16-bit fixed point: the largest number of a row lies within [2^14, 2^15) steps.
  static void round_row(std::span<double> row) {
    double largest = 0.0;
    for (const double x : row) largest = std::max(largest, std::abs(x));
    if (largest == 0.0) return;
    const double step = std::exp2(std::ilogb(largest) - 14);
    for (double& x : row) x = std::clamp(std::nearbyint(x / step), -32767.0, 32767.0) * step;
  }
  static void round(Token& token) {
    round_row(token.key);
    round_row(token.value);
  }

  // Moves the oldest n tokens to the thin list as one block.
  void retire(std::size_t n) {
    std::vector<Token> block(recent_.begin(), recent_.begin() + static_cast<std::ptrdiff_t>(n));
    recent_.erase(recent_.begin(), recent_.begin() + static_cast<std::ptrdiff_t>(n));
    // The reduction itself is the cache's (float, in its order of additions), lest a last bit decide a code.
    std::vector<float> whole(dim_ * 32, 0.0F);
    for (std::size_t t = 0; t < n; ++t) {
      for (std::size_t c = 0; c < dim_; ++c) whole[c * 32 + t] = static_cast<float>(block[t].key[c]);
    }
    const std::size_t reduced = head_.kept_keys().size();
    std::vector<float> keys(reduced * 32);
    head_.kept_keys().reduce_keys(whole.data(), keys.data());
    for (std::size_t t = 0; t < n; ++t) block[t].key.assign(reduced, 0.0);
    if (spec_.turbo.active()) return retire_levels(block, keys);
    std::vector<std::size_t> bits;  // of each kept channel
    for (std::size_t f = 0; f < kElementFormats; ++f) {
      bits.insert(bits.end(), head_.kept_keys().formats()[f],
                  static_cast<std::size_t>(element_bits(static_cast<ElementFormat>(f))));
    }
    const std::size_t fixed = head_.kept_keys().formats()[static_cast<std::size_t>(ElementFormat::I16)];
    for (std::size_t t = 0; t < n; ++t) {
      for (std::size_t c = 0; c < fixed; ++c) block[t].key[c] = keys[c * 32 + t];
      round_row(std::span(block[t].key).first(fixed));
    }
    for (std::size_t c = fixed; c < reduced; ++c) {
      std::vector<double> row(keys.begin() + static_cast<std::ptrdiff_t>(c * 32),
                              keys.begin() + static_cast<std::ptrdiff_t>(c * 32 + n));
      store(row, bits[c]);
      for (std::size_t t = 0; t < n; ++t) block[t].key[c] = row[t];
    }
    const auto kept = head_.value_channels();
    for (Token& token : block) {
      std::vector<double> value(dim_, 0.0);
      // Scales are of a group's channels, exponents of all.
      const bool quantized = spec_.quantization.active();
      const std::size_t group = quantized ? static_cast<std::size_t>(spec_.quantization.group) : dim_;
      for (std::size_t first = 0; first < kept.size(); first += group) {
        const std::size_t last = std::min(kept.size(), first + group);
        std::vector<double> row;
        for (std::size_t c = first; c < last; ++c) row.push_back(token.value[kept[c]]);
        if (quantized) {
          store(row, spec_.quantization.bits);
        } else {
          round_row(row);
        }
        for (std::size_t c = first; c < last; ++c) value[kept[c]] = row[c - first];
      }
      token.value = value;
      thin_.push_back(token);
    }
  }

  [[nodiscard]] std::size_t most_sinks() const {
    return spec_.turbo.active() ? static_cast<std::size_t>(spec_.turbo.sinks) : 0;
  }

  // Of the scales of a block: 5 bits after the first, down to the 128th part of the largest's power of two.
  static std::vector<double> stored_scales(const std::vector<float>& scales) {
    std::vector<double> stored;
    double most = 0.0;
    for (const float scale : scales) {
      const double step = scale > 0.0F ? std::exp2(std::ilogb(scale) - 5) : 1.0;
      stored.push_back(std::floor(static_cast<double>(scale) / step + 0.5) * step);
      most = std::max(most, stored.back());
    }
    for (double& scale : stored) {
      if (most > 0.0 && scale <= std::exp2(std::ilogb(most) - 7)) scale = 0.0;
    }
    return stored;
  }

  // keys: reduced and rotated, [D'][32]. Codes are the codec's (levels_test.cpp), lest a last bit decide.
  void retire_levels(std::vector<Token>& block, const std::vector<float>& keys) {
    const std::size_t reduced = head_.kept_keys().size();
    const auto kept = head_.value_channels();
    const LevelBook& key_book = level_book(level_format(spec_.turbo.keys));
    const LevelBook& value_book = level_book(level_format(spec_.turbo.values));
    std::vector<std::vector<std::uint8_t>> key_codes, value_codes;
    std::vector<float> key_scales, value_scales;
    for (std::size_t t = 0; t < block.size(); ++t) {
      key_codes.emplace_back(reduced);
      std::vector<float> key(reduced);
      for (std::size_t c = 0; c < reduced; ++c) key[c] = keys[c * 32 + t];
      key_scales.push_back(encode_levels(key_book, key, kKeyFairness, key_codes.back().data()));
      std::vector<float> value;
      for (const std::uint16_t c : kept) value.push_back(static_cast<float>(block[t].value[c]));
      rotate(value.data(), value.size());
      value_codes.emplace_back(value.size());
      value_scales.push_back(encode_levels(value_book, value, kValueFairness, value_codes.back().data()));
    }
    const std::vector<double> key_stored = stored_scales(key_scales);
    const std::vector<double> value_stored = stored_scales(value_scales);
    for (std::size_t t = 0; t < block.size(); ++t) {
      for (std::size_t c = 0; c < reduced; ++c)
        block[t].key[c] = key_stored[t] * key_book.levels[key_codes[t][c]];
      std::vector<float> value;
      for (const std::uint8_t code : value_codes[t]) {
        value.push_back(static_cast<float>(value_stored[t] * value_book.levels[code]));
      }
      rotate(value.data(), value.size());
      block[t].value.assign(dim_, 0.0);
      for (std::size_t c = 0; c < kept.size(); ++c) block[t].value[kept[c]] = value[c];
      thin_.push_back(block[t]);
    }
  }

  // What quantization to so many bits makes of a group of numbers.
  static void store(std::vector<double>& x, std::size_t bits) {
    const auto [low, high] = std::minmax_element(x.begin(), x.end());
    const auto most = static_cast<float>((1 << bits) - 1);
    const auto minimum = static_cast<float>(*low);
    const float scale = (static_cast<float>(*high) - minimum) / most;
    for (double& e : x) {
      const float code =
          scale > 0.0F ? std::clamp(std::nearbyint((static_cast<float>(e) - minimum) / scale), 0.0F, most)
                       : 0.0F;
      e = code * rounded(scale) + rounded(minimum);
    }
  }

  const HeadStore& head_;
  CacheSpec spec_;
  std::size_t dim_;
  std::vector<Token> thin_, sinks_, recent_;
};

}  // namespace thinkey::test
