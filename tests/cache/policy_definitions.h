// The policies' definitions in double precision, and a layer to apply them to.
#pragma once

#include <algorithm>
#include <cmath>
#include <complex>
#include <functional>
#include <vector>

#include "backend/attention_shape.h"
#include "backend/stages.h"
#include "base/matrix_view.h"
#include "cache/random_prompt.h"

namespace thinkey::test {

using Numbers = std::vector<double>;

inline constexpr std::size_t kTokens = 330;
inline constexpr std::size_t kDim = 16;
inline constexpr std::size_t kGroup = 2;
inline constexpr std::size_t kHeads = 2;  // KV heads
inline constexpr std::size_t kWidth = 24;
inline constexpr double kForever = 1e30;  // always kept

// A layer of a model: two KV heads of two query heads each, RoPE over part of a head, W_o, and a replay.
struct Layer {
  RopeSpec rope{
      .rotated = 12, .inverse_frequencies = {1.0F, 0.5F, 0.2F, 0.1F, 0.03F, 0.01F}, .magnitude = 1.2F};
  std::vector<float> output_weights;
  MatrixView output;
  AttentionShape shape{.query_heads = kGroup * kHeads, .kv_heads = kHeads, .head_dim = kDim};
  RandomPrompt prompt;

  explicit Layer(std::uint64_t seed, std::size_t tokens = kTokens) : prompt(shape, tokens, seed) {
    output_weights = prompt.normal(kWidth * kGroup * kHeads * kDim);
    output = {.type = TensorType::F32,
              .rows = kWidth,
              .cols = kGroup * kHeads * kDim,
              .data = reinterpret_cast<const std::byte*>(output_weights.data())};
    shape.rope = &rope;
    shape.output = &output;
    prompt.shape = shape;
    // Keys and values that differ in more than direction, as a model's do.
    for (std::size_t i = 0; i < prompt.k.size(); ++i) {
      const std::size_t t = i / kDim % tokens;
      prompt.k[i] = prompt.k[i] * (0.5F + static_cast<float>(t % 7) * 0.2F) + (i % kDim == 1 ? 0.7F : 0.0F);
      prompt.v[i] *= 0.3F + static_cast<float>(t % 11) * 0.15F;
    }
  }
  Layer(const Layer&) = delete;

  [[nodiscard]] const float* q(std::size_t t, std::size_t h) const {
    return prompt.q.data() + (t * kGroup * kHeads + h) * kDim;
  }
  [[nodiscard]] const float* k(std::size_t h, std::size_t t) const {
    return prompt.k.data() + (h * prompt.tokens + t) * kDim;
  }
  [[nodiscard]] const float* v(std::size_t h, std::size_t t) const {
    return prompt.v.data() + (h * prompt.tokens + t) * kDim;
  }
};

inline double dot(const float* a, const float* b) {
  double sum = 0.0;
  for (std::size_t j = 0; j < kDim; ++j) sum += static_cast<double>(a[j]) * b[j];
  return sum;
}
double norm(const float* a) { return std::sqrt(dot(a, a)); }

inline Numbers softmax(Numbers x) {
  double total = 0.0;
  for (double& e : x) total += e = std::exp(e);
  for (double& e : x) e /= total;
  return x;
}

// Attention of query head h at t over tokens [from, to).
inline Numbers attention(const Layer& l, std::size_t t, std::size_t h, std::size_t from, std::size_t to) {
  Numbers row;
  for (std::size_t i = from; i < to; ++i) row.push_back(dot(l.q(t, h), l.k(h / kGroup, i)) / 4.0);
  return softmax(row);
}

// x before RoPE at position p.
inline Numbers unrotated(const RopeSpec& rope, const float* x, std::size_t p) {
  Numbers out(x, x + kDim);
  const std::size_t pairs = rope.inverse_frequencies.size();
  for (std::size_t i = 0; i < pairs; ++i) {
    const double angle = static_cast<double>(static_cast<float>(p) * rope.inverse_frequencies[i]);
    const auto back = std::complex<double>(x[i], x[i + pairs]) * std::polar(1.0, -angle) /
                      static_cast<double>(rope.magnitude);
    out[i] = back.real();
    out[i + pairs] = back.imag();
  }
  return out;
}

inline double output_norm(const Layer& l, std::size_t query_head, const float* value, bool absolute) {
  double sum = 0.0;
  for (std::size_t r = 0; r < kWidth; ++r) {
    const double x = dot(l.output_weights.data() + r * kGroup * kHeads * kDim + query_head * kDim, value);
    sum += absolute ? std::abs(x) : x * x;
  }
  return absolute ? sum : std::sqrt(sum);
}

// Scores by KV head.
using Reference = std::function<std::vector<Numbers>(const Layer&, std::size_t budget)>;

inline std::vector<Numbers> per_head(const std::function<Numbers(std::size_t)>& head) {
  return {head(0), head(1)};
}

inline Numbers pooled(const Numbers& x, std::size_t kernel, bool maximum) {
  Numbers out(x.size());
  for (std::size_t t = 0; t < x.size(); ++t) {
    double sum = 0.0;
    double most = -kForever;
    for (std::size_t i = 0; i < x.size(); ++i) {
      if (i + kernel / 2 < t || t + kernel / 2 < i) continue;
      sum += x[i];
      most = std::max(most, x[i]);
    }
    out[t] = maximum ? most : sum / static_cast<double>(kernel);
  }
  return out;
}

inline std::vector<Numbers> snapkv(const Layer& l, std::size_t) {
  constexpr std::size_t kWindow = 8;
  return per_head([&](std::size_t kv) {
    Numbers scores(kTokens, 0.0);
    for (std::size_t h = kv * kGroup; h < (kv + 1) * kGroup; ++h) {
      Numbers votes(kTokens - kWindow, 0.0);
      for (std::size_t t = kTokens - kWindow; t < kTokens; ++t) {
        const Numbers row = attention(l, t, h, 0, t + 1);
        for (std::size_t i = 0; i < votes.size(); ++i) votes[i] += row[i];
      }
      const Numbers p = pooled(votes, 5, false);
      for (std::size_t i = 0; i < p.size(); ++i) scores[i] += p[i] / kGroup;
    }
    for (std::size_t t = kTokens - kWindow; t < kTokens; ++t) scores[t] = kForever;
    return scores;
  });
}

inline std::vector<Numbers> h2o(const Layer& l, std::size_t) {
  return per_head([&](std::size_t kv) {
    Numbers scores(kTokens, 0.0);
    for (std::size_t h = kv * kGroup; h < (kv + 1) * kGroup; ++h) {
      for (std::size_t t = 0; t < kTokens; ++t) {
        const Numbers row = attention(l, t, h, 0, t + 1);
        for (std::size_t i = 0; i <= t; ++i) scores[i] += row[i];
      }
    }
    for (std::size_t t = kTokens - 8; t < kTokens; ++t) scores[t] = kForever;
    return scores;
  });
}

inline std::vector<Numbers> streaming(const Layer&, std::size_t) {
  return per_head([&](std::size_t) {
    Numbers scores(kTokens);
    for (std::size_t t = 0; t < kTokens; ++t) scores[t] = t < 4 ? kForever : static_cast<double>(t);
    return scores;
  });
}

inline std::vector<Numbers> tova(const Layer& l, std::size_t) {
  Numbers scores(kTokens, 0.0);
  for (std::size_t h = 0; h < kGroup * kHeads; ++h) {
    const Numbers row = attention(l, kTokens - 1, h, 0, kTokens);
    for (std::size_t i = 0; i < kTokens; ++i) scores[i] += row[i];
  }
  scores.back() = kForever;
  return {scores, scores};
}

inline std::vector<Numbers> keydiff(const Layer& l, std::size_t) {
  return per_head([&](std::size_t kv) {
    Numbers anchor(kDim, 0.0);
    for (std::size_t t = 0; t < kTokens; ++t) {
      for (std::size_t j = 0; j < kDim; ++j) anchor[j] += l.k(kv, t)[j] / norm(l.k(kv, t));
    }
    double length = 0.0;
    for (const double x : anchor) length += x * x;
    Numbers scores(kTokens);
    for (std::size_t t = 0; t < kTokens; ++t) {
      double sum = 0.0;
      for (std::size_t j = 0; j < kDim; ++j) sum += anchor[j] * l.k(kv, t)[j];
      scores[t] = -sum / (std::sqrt(length) * norm(l.k(kv, t)));
    }
    return scores;
  });
}

inline std::vector<Numbers> expected(const Layer& l, bool covariance, bool output) {
  constexpr std::size_t kSinks = 4;
  constexpr std::size_t kFuture = 50;
  return per_head([&](std::size_t kv) {
    Numbers scores(kTokens, kForever);
    std::fill(scores.begin() + kSinks, scores.end(), 0.0);
    for (std::size_t h = kv * kGroup; h < (kv + 1) * kGroup; ++h) {
      Numbers mean(kDim, 0.0);
      std::vector<Numbers> queries;
      for (std::size_t t = kSinks; t < kTokens; ++t) {
        queries.push_back(unrotated(l.rope, l.q(t, h), t));
        for (std::size_t j = 0; j < kDim; ++j) mean[j] += queries.back()[j] / (kTokens - kSinks);
      }
      // The mean rotation as a matrix, column by column.
      std::vector<Numbers> rotation(kDim, Numbers(kDim, 0.0));
      const std::size_t pairs = l.rope.inverse_frequencies.size();
      for (std::size_t j = 2 * pairs; j < kDim; ++j) rotation[j][j] = 1.0;
      for (std::size_t p = kTokens; p < kTokens + kFuture; ++p) {
        for (std::size_t i = 0; i < pairs; ++i) {
          const double angle = static_cast<double>(static_cast<float>(p) * l.rope.inverse_frequencies[i]);
          const double share = static_cast<double>(l.rope.magnitude) / kFuture;
          rotation[i][i] += share * std::cos(angle);
          rotation[i][i + pairs] -= share * std::sin(angle);
          rotation[i + pairs][i] += share * std::sin(angle);
          rotation[i + pairs][i + pairs] += share * std::cos(angle);
        }
      }
      Numbers logits;
      for (std::size_t t = kSinks; t < kTokens; ++t) {
        Numbers key(kDim, 0.0);  // R^T k
        for (std::size_t i = 0; i < kDim; ++i) {
          for (std::size_t j = 0; j < kDim; ++j) key[j] += rotation[i][j] * l.k(kv, t)[i];
        }
        double linear = 0.0;
        for (std::size_t j = 0; j < kDim; ++j) linear += mean[j] * key[j];
        double variance = 0.0;  // of q . key
        for (const Numbers& q : queries) {
          double x = -linear;
          for (std::size_t j = 0; j < kDim; ++j) x += q[j] * key[j];
          variance += x * x / static_cast<double>(queries.size());
        }
        logits.push_back(linear / 4.0 + (covariance ? variance / 32.0 : 0.0));
      }
      const Numbers weights = softmax(logits);
      for (std::size_t t = kSinks; t < kTokens; ++t) {
        const double n = output ? output_norm(l, h, l.v(kv, t), false) : norm(l.v(kv, t));
        scores[t] += (weights[t - kSinks] + (output ? 0.01 : 0.0)) * n;
      }
    }
    return scores;
  });
}

inline void standardize(std::vector<Numbers>& x) {
  double sum = 0.0;
  double squares = 0.0;
  const double n = static_cast<double>(x.size() * x[0].size());
  for (const Numbers& head : x) {
    for (const double e : head) sum += e;
  }
  for (const Numbers& head : x) {
    for (const double e : head) squares += (e - sum / n) * (e - sum / n);
  }
  for (Numbers& head : x) {
    for (double& e : head) e = (e - sum / n) / std::sqrt(squares / (n - 1.0));
  }
}

// Solves a x = b by elimination with pivots.
inline Numbers solved(std::vector<Numbers> a, Numbers b) {
  const std::size_t n = b.size();
  for (std::size_t c = 0; c < n; ++c) {
    std::size_t pivot = c;
    for (std::size_t r = c; r < n; ++r) {
      if (std::abs(a[r][c]) > std::abs(a[pivot][c])) pivot = r;
    }
    std::swap(a[c], a[pivot]);
    std::swap(b[c], b[pivot]);
    for (std::size_t r = 0; r < n; ++r) {
      if (r == c) continue;
      const double f = a[r][c] / a[c][c];
      for (std::size_t i = c; i < n; ++i) a[r][i] -= f * a[c][i];
      b[r] -= f * b[c];
    }
  }
  for (std::size_t c = 0; c < n; ++c) b[c] /= a[c][c];
  return b;
}

inline std::vector<Numbers> compactor(const Layer& l, std::size_t budget) {
  constexpr std::size_t kBegin = 8;
  constexpr std::size_t kEnd = kTokens - 4;
  constexpr std::size_t kBlock = 64;
  std::vector<Numbers> outliers;
  std::vector<Numbers> local;
  for (std::size_t kv = 0; kv < kHeads; ++kv) {
    std::vector<Numbers> x;
    Numbers mean(kDim, 0.0);
    for (std::size_t t = kBegin; t < kEnd; ++t) {
      x.push_back(unrotated(l.rope, l.k(kv, t), t));
      for (std::size_t j = 0; j < kDim; ++j) mean[j] += x.back()[j] / (kEnd - kBegin);
    }
    std::vector<Numbers> gram(kDim, Numbers(kDim, 0.0));
    for (Numbers& row : x) {
      for (std::size_t j = 0; j < kDim; ++j) row[j] -= mean[j];
      for (std::size_t i = 0; i < kDim * kDim; ++i) gram[i / kDim][i % kDim] += row[i / kDim] * row[i % kDim];
    }
    outliers.emplace_back();
    for (const Numbers& row : x) {
      const Numbers y = solved(gram, row);
      double sum = 0.0;
      for (std::size_t j = 0; j < kDim; ++j) sum += row[j] * y[j];
      outliers.back().push_back(sum);
    }
    Numbers received(kEnd - kBegin, 0.0);
    for (std::size_t t = kBegin; t < kEnd; ++t) {
      const std::size_t from = std::max(kBegin, t / kBlock * kBlock);
      const std::size_t to = std::min(kEnd, t / kBlock * kBlock + kBlock);
      for (std::size_t g = 0; g < kGroup; ++g) {
        const Numbers row = attention(l, t, kv * kGroup + g, from, to);
        for (std::size_t i = from; i < to; ++i) received[i - kBegin] += row[i - from] / kGroup;
      }
    }
    for (std::size_t t = kBegin; t < kEnd; ++t) received[t - kBegin] *= norm(l.v(kv, t));
    local.push_back(pooled(received, 3, false));
  }
  standardize(outliers);
  standardize(local);
  const double blend = 1.0 - static_cast<double>(budget) / kTokens;
  return per_head([&](std::size_t kv) {
    Numbers scores(kTokens, kForever);
    for (std::size_t t = kBegin; t < kEnd; ++t) {
      scores[t] = blend * outliers[kv][t - kBegin] + local[kv][t - kBegin];
    }
    return scores;
  });
}

inline std::vector<Numbers> lagkv(const Layer& l, std::size_t) {
  constexpr std::size_t kSinks = 3;
  constexpr std::size_t kLag = 40;
  const auto spread = [&](const std::function<const float*(std::size_t)>& row, std::size_t begin) {
    Numbers out;
    for (std::size_t t = begin; t < begin + kLag; ++t) {
      Numbers x;
      for (std::size_t j = 0; j < kDim; ++j) {
        double low = kForever;
        double high = -kForever;
        for (std::size_t i = begin + kLag; i < begin + 2 * kLag; ++i) {
          low = std::min<double>(low, row(i)[j]);
          high = std::max<double>(high, row(i)[j]);
        }
        x.push_back((row(t)[j] - low) / (high - low));
      }
      double mean = 0.0;
      for (const double e : x) mean += e / kDim;
      double squares = 0.0;
      for (const double e : x) squares += (e - mean) * (e - mean);
      out.push_back(std::sqrt(squares / (kDim - 1)));
    }
    return softmax(out);
  };
  return per_head([&](std::size_t kv) {
    Numbers scores(kTokens);
    for (std::size_t t = 0; t < kTokens; ++t)
      scores[t] = t < kSinks ? kForever : 10.0 + static_cast<double>(t);
    for (std::size_t begin = kSinks; begin + 2 * kLag <= kTokens; begin += kLag) {
      const Numbers keys = spread([&](std::size_t t) { return l.k(kv, t); }, begin);
      const Numbers values = spread([&](std::size_t t) { return l.v(kv, t); }, begin);
      for (std::size_t t = 0; t < kLag; ++t) {
        double rank = 0.0;
        for (std::size_t i = 0; i < kLag; ++i) rank += keys[i] + values[i] < keys[t] + values[t] ? 1.0 : 0.0;
        scores[begin + t] = rank / kLag;
      }
    }
    return scores;
  });
}

inline std::vector<Numbers> rkv(const Layer& l, std::size_t) {
  constexpr std::size_t kWindow = 8;
  return per_head([&](std::size_t kv) {
    Numbers redundancy(kTokens, 0.0);
    for (std::size_t i = 0; i < kTokens; ++i) {
      Numbers cosines(kTokens, 0.0);
      std::size_t latest = kTokens;
      for (std::size_t t = 0; t < kTokens; ++t) {
        if (t == i) continue;
        cosines[t] = dot(l.k(kv, i), l.k(kv, t)) / (norm(l.k(kv, i)) * norm(l.k(kv, t)));
        if (cosines[t] > 0.5) latest = t;
      }
      for (std::size_t t = 0; t < kTokens; ++t) redundancy[t] += t == latest ? 0.0 : cosines[t] / kTokens;
    }
    redundancy = softmax(redundancy);
    Numbers scores(kTokens, kForever);
    std::fill(scores.begin(), scores.end() - kWindow, 0.0);
    for (std::size_t g = 0; g < kGroup; ++g) {
      Numbers votes(kTokens - kWindow, 0.0);
      for (std::size_t t = kTokens - kWindow; t < kTokens; ++t) {
        const Numbers row = attention(l, t, kv * kGroup + g, 0, t + 1);
        for (std::size_t i = 0; i < votes.size(); ++i) votes[i] += row[i] / kWindow;
      }
      votes = pooled(votes, 7, true);
      for (std::size_t i = 0; i < votes.size(); ++i) scores[i] = std::max(scores[i], votes[i]);
    }
    for (std::size_t i = 0; i < kTokens - kWindow; ++i) scores[i] = 0.3 * scores[i] - 0.7 * redundancy[i];
    return scores;
  });
}

}  // namespace thinkey::test
