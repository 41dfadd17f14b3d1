// Every policy against its definition in double precision, for grouped heads: what is kept scores at least as
// much as what is not.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <complex>
#include <functional>
#include <set>
#include <string>
#include <vector>

#include "backend/stages.h"
#include "base/matrix_view.h"
#include "cache/eviction.h"
#include "cache/random_prompt.h"
#include "thinkey/error.h"

namespace thinkey {
namespace {

using test::RandomPrompt;
using Numbers = std::vector<double>;

constexpr std::size_t kTokens = 330;
constexpr std::size_t kDim = 16;
constexpr std::size_t kGroup = 2;
constexpr std::size_t kHeads = 2;  // KV heads
constexpr std::size_t kWidth = 24;
constexpr double kForever = 1e30;  // always kept

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

double dot(const float* a, const float* b) {
  double sum = 0.0;
  for (std::size_t j = 0; j < kDim; ++j) sum += static_cast<double>(a[j]) * b[j];
  return sum;
}
double norm(const float* a) { return std::sqrt(dot(a, a)); }

Numbers softmax(Numbers x) {
  double total = 0.0;
  for (double& e : x) total += e = std::exp(e);
  for (double& e : x) e /= total;
  return x;
}

// Attention of query head h at t over tokens [from, to).
Numbers attention(const Layer& l, std::size_t t, std::size_t h, std::size_t from, std::size_t to) {
  Numbers row;
  for (std::size_t i = from; i < to; ++i) row.push_back(dot(l.q(t, h), l.k(h / kGroup, i)) / 4.0);
  return softmax(row);
}

// x before RoPE at position p.
Numbers unrotated(const RopeSpec& rope, const float* x, std::size_t p) {
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

double output_norm(const Layer& l, std::size_t query_head, const float* value, bool absolute) {
  double sum = 0.0;
  for (std::size_t r = 0; r < kWidth; ++r) {
    const double x = dot(l.output_weights.data() + r * kGroup * kHeads * kDim + query_head * kDim, value);
    sum += absolute ? std::abs(x) : x * x;
  }
  return absolute ? sum : std::sqrt(sum);
}

// Scores by KV head.
using Reference = std::function<std::vector<Numbers>(const Layer&, std::size_t budget)>;

std::vector<Numbers> per_head(const std::function<Numbers(std::size_t)>& head) { return {head(0), head(1)}; }

Numbers pooled(const Numbers& x, std::size_t kernel, bool maximum) {
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

std::vector<Numbers> snapkv(const Layer& l, std::size_t) {
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

std::vector<Numbers> h2o(const Layer& l, std::size_t) {
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

std::vector<Numbers> streaming(const Layer&, std::size_t) {
  return per_head([&](std::size_t) {
    Numbers scores(kTokens);
    for (std::size_t t = 0; t < kTokens; ++t) scores[t] = t < 4 ? kForever : static_cast<double>(t);
    return scores;
  });
}

std::vector<Numbers> tova(const Layer& l, std::size_t) {
  Numbers scores(kTokens, 0.0);
  for (std::size_t h = 0; h < kGroup * kHeads; ++h) {
    const Numbers row = attention(l, kTokens - 1, h, 0, kTokens);
    for (std::size_t i = 0; i < kTokens; ++i) scores[i] += row[i];
  }
  scores.back() = kForever;
  return {scores, scores};
}

std::vector<Numbers> keydiff(const Layer& l, std::size_t) {
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

std::vector<Numbers> expected(const Layer& l, bool covariance, bool output) {
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

void standardize(std::vector<Numbers>& x) {
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
Numbers solved(std::vector<Numbers> a, Numbers b) {
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

std::vector<Numbers> compactor(const Layer& l, std::size_t budget) {
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

std::vector<Numbers> lagkv(const Layer& l, std::size_t) {
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

std::vector<Numbers> rkv(const Layer& l, std::size_t) {
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

// The layer's kept tokens, with the queries shown in pieces as a prefill does.
TokenLists kept(const Layer& l, const CacheSpec& spec) {
  SequenceCache cache(CacheShape::uniform(1, l.shape), spec);
  if (cache.observes_all_queries()) {
    for (std::size_t at = 0; at < kTokens; at += 128) {
      cache.observe(0, {.q = l.q(at, 0),
                        .token_stride = kGroup * kHeads * kDim,
                        .head_stride = kDim,
                        .first = at,
                        .n = std::min<std::size_t>(128, kTokens - at),
                        .lse = nullptr,
                        .k = l.prompt.k.data(),
                        .capacity = kTokens});
    }
  }
  CompressionTrace trace;
  cache.compress_prompt(0, l.prompt.view(), &trace);
  return trace.kept_tokens;
}

void expect_best(const std::vector<std::int32_t>& kept, const Numbers& scores, std::size_t budget) {
  ASSERT_EQ(kept.size(), budget);
  Numbers sorted = scores;
  std::sort(sorted.begin(), sorted.end(), std::greater<>());
  const double least = sorted[budget - 1];
  const std::set<std::int32_t> set(kept.begin(), kept.end());
  for (std::size_t t = 0; t < scores.size(); ++t) {
    const bool in = set.contains(static_cast<std::int32_t>(t));
    const double slack = 1e-5 * std::max(std::abs(least), 1e-4);
    if (in) {
      EXPECT_GE(scores[t], least - slack) << t;
    } else {
      EXPECT_LE(scores[t], least + slack) << t;
    }
  }
}

struct Case {
  std::string spec;
  Reference scores;
};

const std::vector<Case>& cases() {
  static const std::vector<Case> all = {
      {"snapkv:90,window=8", snapkv},
      {"h2o:90,window=8", h2o},
      {"streaming:90", streaming},
      {"tova:90", tova},
      {"keydiff:90", keydiff},
      {"expected:90,future=50", [](const Layer& l, std::size_t) { return expected(l, true, false); }},
      {"expected:90,future=50,covariance=no",
       [](const Layer& l, std::size_t) { return expected(l, false, false); }},
      {"expected:90,future=50,norm=output,epsilon=0.01",
       [](const Layer& l, std::size_t) { return expected(l, true, true); }},
      {"compactor:90,block=64", compactor},
      {"lagkv:90,sinks=3,lag=40", lagkv},
      {"rkv:90,lambda=0.3", rkv}};
  return all;
}

TEST(Policies, KeepWhatTheirDefinitionSays) {
  for (const Case& c : cases()) {
    for (const std::uint64_t seed : {1U, 2U}) {
      SCOPED_TRACE(c.spec);
      const Layer l(seed);
      const CacheSpec spec = CacheSpec::parse(c.spec);
      const TokenLists lists = kept(l, spec);
      const std::vector<Numbers> scores = c.scores(l, 90);
      for (std::size_t h = 0; h < kHeads; ++h) expect_best(lists[h], scores[h], 90);
    }
  }
}

// KVzip: two replays of parts of the prompt, their keys behind the prompt's.
TEST(Policies, KVzipKeepsWhatReplaysAttendTo) {
  constexpr std::size_t kRepeat = 200;
  constexpr std::size_t kPart = 180;
  for (const bool normalized : {false, true}) {
    Layer l(5);
    std::vector<float> keys(kHeads * (kTokens + kRepeat) * kDim);
    for (std::size_t h = 0; h < kHeads; ++h) {
      std::copy_n(l.k(h, 0), kTokens * kDim, keys.data() + h * (kTokens + kRepeat) * kDim);
    }
    const auto key = [&](std::size_t h, std::size_t t) {
      return keys.data() + (h * (kTokens + kRepeat) + t) * kDim;
    };
    PromptView view = l.prompt.view();
    view.k = keys.data();
    std::vector<float> values(keys.size(), 0.0F);
    for (std::size_t h = 0; h < kHeads; ++h) {
      std::copy_n(l.v(h, 0), kTokens * kDim, values.data() + h * (kTokens + kRepeat) * kDim);
    }
    view.v = values.data();
    view.capacity = kTokens + kRepeat;

    SequenceCache cache(CacheShape::uniform(1, l.shape),
                        CacheSpec::parse(normalized ? "kvzip:90,normalized" : "kvzip:90"));
    EXPECT_TRUE(cache.wants_replay());
    std::vector<Numbers> expected(kGroup * kHeads, Numbers(kTokens, 0.0));
    for (std::size_t begin = 0; begin < kTokens; begin += kPart) {
      const std::size_t end = std::min(kTokens, begin + kPart);
      const std::vector<float> own = l.prompt.normal(kHeads * kRepeat * kDim);
      for (std::size_t h = 0; h < kHeads; ++h) {
        std::copy_n(own.data() + h * kRepeat * kDim, kRepeat * kDim,
                    keys.data() + (h * (kTokens + kRepeat) + kTokens) * kDim);
      }
      const std::vector<float> q = l.prompt.normal(kRepeat * kGroup * kHeads * kDim);
      std::vector<float> norms;
      for (std::size_t i = 0; i < kRepeat; ++i) norms.push_back(1.0F + static_cast<float>(i % 5));
      for (std::size_t at = 0; at < kRepeat; at += 90) {
        cache.replay(0, {.queries = {.q = q.data() + at * kGroup * kHeads * kDim,
                                     .token_stride = kGroup * kHeads * kDim,
                                     .head_stride = kDim,
                                     .first = kTokens + at,
                                     .n = std::min<std::size_t>(90, kRepeat - at),
                                     .lse = nullptr,
                                     .k = keys.data(),
                                     .capacity = kTokens + kRepeat,
                                     .tokens = kTokens},
                         .begin = begin,
                         .end = end,
                         .own_first = kTokens,
                         .input_norms = norms.data() + at});
      }
      for (std::size_t i = 0; i < kRepeat; ++i) {
        for (std::size_t h = 0; h < kGroup * kHeads; ++h) {
          std::vector<std::size_t> seen;
          for (std::size_t t = 0; t < std::min<std::size_t>(4, begin); ++t) seen.push_back(t);
          const std::size_t first = seen.size();
          for (std::size_t t = begin; t < end; ++t) seen.push_back(t);
          for (std::size_t t = kTokens; t <= kTokens + i; ++t) seen.push_back(t);
          Numbers row;
          for (const std::size_t t : seen) {
            row.push_back(dot(q.data() + (i * kGroup * kHeads + h) * kDim, key(h / kGroup, t)) / 4.0);
          }
          row = softmax(row);
          for (std::size_t t = begin; t < end; ++t) {
            const double weight = normalized ? output_norm(l, h, l.v(h / kGroup, t), false) / norms[i] : 1.0;
            expected[h][t] = std::max(expected[h][t], weight * row[first + t - begin]);
          }
        }
      }
    }
    CompressionTrace trace;
    cache.compress_prompt(0, view, &trace);
    for (std::size_t kv = 0; kv < kHeads; ++kv) {
      Numbers scores(kTokens, kForever);
      for (std::size_t t = 4; t < kTokens; ++t) {
        scores[t] = std::max(expected[kv * kGroup][t], expected[kv * kGroup + 1][t]);
      }
      expect_best(trace.kept_tokens[kv], scores, 90);
    }
  }
}

TEST(Policies, WhatNeedsAModelSaysSo) {
  Layer l(3);
  l.shape.output = nullptr;
  EXPECT_THROW(kept(l, CacheSpec::parse("kvzip:90")), Error);
  EXPECT_THROW(kept(l, CacheSpec::parse("snapkv:90,critical")), Error);
}

TEST(Policies, SayWhetherTheyDependOnTheQuestion) {
  for (const char* text : {"snapkv:90", "pyramidkv:90", "h2o:90,observe=window", "tova:90", "rkv:90",
                           "think:0.4,form=paper", "expected:90+think:0.4,form=paper"}) {
    EXPECT_TRUE(CacheSpec::parse(text).question_dependent()) << text;
  }
  for (const char* text : {"full", "h2o:90", "streaming:90", "expected:90", "keydiff:90", "kvzip:90",
                           "compactor:90", "lagkv:90", "expected:90,adakv,critical+kivi:4"}) {
    EXPECT_FALSE(CacheSpec::parse(text).question_dependent()) << text;
  }
}

// -- wrappers

TEST(Wrappers, CriticalSpendsHalfOnWeighedScores) {
  const Layer l(7);
  for (const Case& c : {cases()[0], cases()[4]}) {  // scores that cannot be negative, and some that are
    const TokenLists lists = kept(l, CacheSpec::parse(c.spec + ",critical"));
    const std::vector<Numbers> scores = c.scores(l, 90);
    for (std::size_t kv = 0; kv < kHeads; ++kv) {
      Numbers weighed = scores[kv];
      Numbers sorted = scores[kv];
      std::sort(sorted.begin(), sorted.end(), std::greater<>());
      const double lowest = std::min(0.0, sorted.back());
      for (std::size_t t = 0; t < kTokens; ++t) {
        if (scores[kv][t] >= sorted[44]) {
          weighed[t] = kForever;
        } else {
          const double n =
              output_norm(l, 2 * kv, l.v(kv, t), true) + output_norm(l, 2 * kv + 1, l.v(kv, t), true);
          weighed[t] = (scores[kv][t] - lowest + 1e-4) * n / 2.0;
        }
      }
      expect_best(lists[kv], weighed, 90);
    }
  }
}

TEST(Wrappers, ChunksAreKeptTogether) {
  const Layer l(8);
  const TokenLists lists = kept(l, CacheSpec::parse("snapkv:90,window=8,chunk=10"));
  const std::vector<Numbers> scores = snapkv(l, 90);
  for (std::size_t kv = 0; kv < kHeads; ++kv) {
    Numbers means(kTokens);
    for (std::size_t t = 0; t < kTokens; ++t) {
      double sum = 0.0;
      double count = 0.0;
      for (std::size_t i = t / 10 * 10; i < std::min(kTokens, t / 10 * 10 + 10); ++i) {
        if (scores[kv][i] == kForever) continue;
        sum += scores[kv][i];
        count += 1.0;
      }
      means[t] = scores[kv][t] == kForever ? kForever : sum / count;
    }
    expect_best(lists[kv], means, 90);
    // The window and whole chunks; of one chunk a part, its first tokens.
    std::vector<std::size_t> sizes(kTokens / 10 + 1, 0);
    for (const std::int32_t t : lists[kv]) ++sizes[static_cast<std::size_t>(t) / 10];
    std::size_t parts = 0;
    for (std::size_t c = 0; c < (kTokens - 8) / 10; ++c) parts += sizes[c] % 10 != 0 ? 1 : 0;
    EXPECT_LE(parts, 1U);
  }
}

// Scores of four heads, made up.
TokenNumbers random_scores(std::mt19937_64& random, std::size_t heads, std::size_t tokens) {
  TokenNumbers scores(heads);
  std::normal_distribution<float> gauss;
  for (std::size_t h = 0; h < heads; ++h) {
    const float level = gauss(random);
    for (std::size_t t = 0; t < tokens; ++t) scores[h].push_back(level + gauss(random));
  }
  return scores;
}

TEST(Wrappers, AdaKVGivesPlacesToTheBestOfAllHeads) {
  std::mt19937_64 random(9);
  const auto nothing = [](std::size_t) { return std::vector<std::int32_t>{}; };
  for (int round = 0; round < 200; ++round) {
    const std::size_t heads = 1 + random() % 5;
    const std::size_t tokens = 50 + random() % 500;
    const std::size_t places = 10 + random() % (tokens - 10);
    EvictionSpec spec;
    spec.policy = KeyDiff{};
    spec.adakv = true;
    spec.floor = static_cast<double>(random() % 5) / 4.0;
    const TokenNumbers scores = random_scores(random, heads, tokens);
    const std::vector<HeadRoom> rooms(
        heads, {.begin = 0, .end = tokens, .places = places, .least = 1, .most = tokens});

    // One place at a time: the floor's best of each head, then the best of what is left.
    std::vector<std::pair<float, std::size_t>> rest;
    std::vector<std::size_t> ideal;
    for (std::size_t h = 0; h < heads; ++h) {
      std::vector<float> sorted = scores[h];
      std::sort(sorted.begin(), sorted.end(), std::greater<>());
      ideal.push_back(
          std::max<std::size_t>(1, static_cast<std::size_t>(spec.floor * static_cast<double>(places))));
      for (std::size_t i = ideal[h]; i < tokens; ++i) rest.emplace_back(sorted[i], h);
    }
    std::sort(rest.begin(), rest.end(), std::greater<>());
    std::size_t given = 0;
    for (const std::size_t n : ideal) given += n;
    for (std::size_t i = 0; given < heads * places; ++i, ++given) ++ideal[rest[i].second];

    TokenNumbers copy = scores;
    const TokenLists exact = best_tokens(spec, copy, rooms, 1, nothing, {});
    copy = scores;
    const TokenLists blocks = best_tokens(spec, copy, rooms, 32, nothing, {});
    std::size_t sum = 0;
    for (std::size_t h = 0; h < heads; ++h) {
      EXPECT_EQ(exact[h].size(), ideal[h]);
      EXPECT_EQ(exact[h], top_indices(scores[h], ideal[h]));
      EXPECT_EQ(blocks[h].size() % 32, places % 32);
      EXPECT_EQ(blocks[h], top_indices(scores[h], blocks[h].size()));
      EXPECT_LE(blocks[h].size(), tokens);
      EXPECT_GE(blocks[h].size(), 1U);
      sum += blocks[h].size();
    }
    EXPECT_EQ(sum, heads * places);
    if (heads == 2) {  // nothing but a bound keeps a head a whole block from what it should have
      const auto off = std::abs(static_cast<double>(blocks[0].size()) - static_cast<double>(ideal[0]));
      const std::size_t top = std::max(blocks[0].size(), blocks[1].size());
      const std::size_t bottom = std::min(blocks[0].size(), blocks[1].size());
      EXPECT_TRUE(off <= 32.0 || top + 32 > tokens || bottom < 33) << off;
    }
  }
}

// -- evicting again

TEST(Policies, HeldTokensAreScoredByThePolicy) {
  // Keys of 16 bits are nearly those of the prompt, so that what a prompt of the same tokens would keep
  // stays.
  for (const Case& c : {cases()[4], cases()[9]}) {
    SCOPED_TRACE(c.spec);
    Layer l(11);
    const CacheSpec spec = CacheSpec::parse(c.spec + ",every=1");
    SequenceCache cache(CacheShape::uniform(1, l.shape), spec);
    RandomPrompt start(l.shape, 1, 1);
    std::vector<float> row_k(kHeads * kDim);
    std::vector<float> row_v(kHeads * kDim);
    const auto append = [&](std::size_t t) {
      for (std::size_t h = 0; h < kHeads; ++h) {
        std::copy_n(l.k(h, t), kDim, row_k.data() + h * kDim);
        std::copy_n(l.v(h, t), kDim, row_v.data() + h * kDim);
      }
      cache.append(0, 1, row_k.data(), row_v.data(), kHeads * kDim);
    };
    for (std::size_t t = 0; t < kTokens; ++t) append(t);
    cache.renew(0, 1, kTokens - 1, l.q(kTokens - 1, 0), true);
    const std::vector<Numbers> scores = c.scores(l, 90);
    for (std::size_t h = 0; h < kHeads; ++h) {
      const std::vector<std::int32_t> held = cache.layer(0).store().positions(h);
      ASSERT_EQ(held.size(), 90U);
      Numbers sorted = scores[h];
      std::sort(sorted.begin(), sorted.end(), std::greater<>());
      for (const std::int32_t t : held)
        EXPECT_GE(scores[h][static_cast<std::size_t>(t)], sorted[89] - 1e-3) << t;
    }
  }
}

}  // namespace
}  // namespace thinkey
