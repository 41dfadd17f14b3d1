#include "eval/analysis/cache_error.h"

#include <Eigen/Core>
#include <algorithm>
#include <cmath>
#include <cstdint>
#include <span>
#include <vector>

#include "base/parallel.h"

namespace thinkey::eval {
namespace {

struct Sums {
  double logit_error = 0.0, logits = 0.0, kept_mass = 0.0, output_error = 0.0, outputs = 0.0;
  std::size_t rows = 0;  // queries times heads

  void add(const Sums& other) {
    logit_error += other.logit_error;
    logits += other.logits;
    kept_mass += other.kept_mass;
    output_error += other.output_error;
    outputs += other.outputs;
    rows += other.rows;
  }
  [[nodiscard]] AttentionError error(std::size_t queries) const {
    const auto relative = [](double wrong, double all) { return all > 0 ? std::sqrt(wrong / all) : 0.0; };
    if (rows == 0) return {};
    return {.queries = queries,
            .logits = relative(logit_error, logits),
            .kept_mass = kept_mass / static_cast<double>(rows),
            .output = relative(output_error, outputs)};
  }
};

using Matrix = Eigen::Matrix<float, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>;

Eigen::Map<const Matrix> view(const float* x, std::size_t rows, std::size_t columns) {
  return {x, static_cast<Eigen::Index>(rows), static_cast<Eigen::Index>(columns)};
}
Eigen::Map<Matrix> view(std::vector<float>& x, std::size_t rows, std::size_t columns) {
  return {x.data(), static_cast<Eigen::Index>(rows), static_cast<Eigen::Index>(columns)};
}

// c [m, n] = a [m, k] b^T, with b [n, k].
void multiply_transposed(std::size_t m, std::size_t n, std::size_t k, const float* a, const float* b,
                         std::vector<float>& c) {
  view(c, m, n).noalias() = view(a, m, k) * view(b, n, k).transpose();
}

// c [m, n] = a [m, k] b, with b [k, n].
void multiply(std::size_t m, std::size_t n, std::size_t k, const float* a, const float* b,
              std::vector<float>& c) {
  view(c, m, n).noalias() = view(a, m, k) * view(b, k, n);
}

void softcap(std::span<float> x, float cap) {
  if (cap <= 0.0F) return;
  for (float& logit : x) logit = cap * std::tanh(logit / cap);
}

// Softmax over the entries `visible` says yes to and the sink, the others 0; log-sum-exp.
template <typename Visible>
double masked_softmax(std::span<float> row, double sink, const Visible& visible) {
  double highest = sink;
  for (std::size_t i = 0; i < row.size(); ++i) {
    if (visible(i)) highest = std::max<double>(highest, row[i]);
  }
  double sum = std::isinf(sink) ? 0.0 : std::exp(sink - highest);
  for (std::size_t i = 0; i < row.size(); ++i) {
    const double weight = visible(i) ? std::exp(row[i] - highest) : 0.0;
    row[i] = static_cast<float>(weight);
    sum += weight;
  }
  for (float& weight : row) weight = sum > 0 ? static_cast<float>(weight / sum) : 0.0F;
  return highest + std::log(sum);
}

class HeadError {
 public:
  HeadError(const AttentionShape& shape, const PromptView& prompt, const LayerStore& store,
            std::size_t kv_head)
      : shape_(shape),
        prompt_(prompt),
        dim_(shape.head_dim),
        wide_keys_(prompt.tokens * shape.head_dim),
        wide_values_(wide_keys_.size()),
        keys_((prompt.k + kv_head * prompt.capacity * shape.head_dim)
                  .load(wide_keys_.size(), wide_keys_.data())),
        values_((prompt.v + kv_head * prompt.capacity * shape.head_dim)
                    .load(wide_values_.size(), wide_values_.data())),
        held_(store.read(kv_head)) {}

  // Queries [begin, end) of the view's, of one query head.
  Sums measure(std::size_t query_head, std::size_t begin, std::size_t end) {
    Sums sums;
    for (; begin < end; begin += kTile) sums.add(tile(query_head, begin, std::min(begin + kTile, end)));
    return sums;
  }

 private:
  static constexpr std::size_t kTile = 16;  // queries whose logits of all tokens are in memory

  Sums tile(std::size_t query_head, std::size_t begin, std::size_t end) {
    const std::size_t n = end - begin;
    const std::size_t tokens = prompt_.tokens;
    const std::size_t held = held_.positions.size();
    const float scale = shape_.logit_scale();
    std::vector<float> queries(n * dim_);
    std::vector<float> bias(n, 0.0F);
    for (std::size_t r = 0; r < n; ++r) {
      const float* q = prompt_.q + (begin + r) * prompt_.q_token_stride + query_head * prompt_.q_head_stride;
      for (std::size_t c = 0; c < dim_; ++c) queries[r * dim_ + c] = q[c] * scale;
      for (std::size_t c = 0; c < held_.key_mean.size(); ++c)
        bias[r] += queries[r * dim_ + c] * held_.key_mean[c];
    }
    std::vector<float> whole(n * tokens);
    multiply_transposed(n, tokens, dim_, queries.data(), keys_, whole);
    std::vector<float> approximate(n * held);
    multiply_transposed(n, held, dim_, queries.data(), held_.keys.data(), approximate);

    Sums sums;
    sums.rows = n;
    for (std::size_t r = 0; r < n; ++r) {
      const std::size_t now = tokens - prompt_.queries + begin + r;
      const auto sees = [&](std::size_t position) { return shape_.sees(now, position); };
      const auto sees_held = [&](std::size_t i) {
        return sees(static_cast<std::size_t>(held_.positions[i]));
      };
      const std::span<float> row(whole.data() + r * tokens, tokens);
      const std::span<float> held_row(approximate.data() + r * held, held);
      for (std::size_t i = 0; i < held_.thin; ++i) held_row[i] += bias[r];
      softcap(row, shape_.softcap);
      softcap(held_row, shape_.softcap);
      const double sink = shape_.sink(query_head);
      std::vector<float> logits(held);
      for (std::size_t i = 0; i < held; ++i) {
        logits[i] = row[static_cast<std::size_t>(held_.positions[i])];
        if (!sees_held(i)) continue;
        const double wrong = static_cast<double>(held_row[i]) - logits[i];
        sums.logit_error += wrong * wrong;
        sums.logits += static_cast<double>(logits[i]) * logits[i];
      }
      const double lse = masked_softmax(row, sink, sees);
      masked_softmax(held_row, sink, sees_held);
      for (std::size_t i = 0; i < held; ++i) {
        if (sees_held(i)) sums.kept_mass += std::exp(logits[i] - lse);
      }
    }
    std::vector<float> outputs(n * dim_);
    std::vector<float> held_outputs(n * dim_);
    multiply(n, dim_, tokens, whole.data(), values_, outputs);
    multiply(n, dim_, held, approximate.data(), held_.values.data(), held_outputs);
    for (std::size_t i = 0; i < outputs.size(); ++i) {
      const double wrong = static_cast<double>(held_outputs[i]) - outputs[i];
      sums.output_error += wrong * wrong;
      sums.outputs += static_cast<double>(outputs[i]) * outputs[i];
    }
    return sums;
  }

  const AttentionShape& shape_;
  const PromptView& prompt_;
  std::size_t dim_;
  std::vector<float> wide_keys_, wide_values_;  // used where prefill left bf16
  const float* keys_;                           // [T, D]
  const float* values_;                         // [T, D]
  HeldTokens held_;
};

}  // namespace

LayerError layer_error(const AttentionShape& shape, const PromptView& prompt, const LayerCache& cache,
                       std::size_t window) {
  const std::size_t group = shape.group();
  const std::size_t in_window = std::min(window, prompt.queries);
  const std::size_t earlier = prompt.queries - in_window;
  std::vector<Sums> before(shape.kv_heads);
  std::vector<Sums> inside(shape.kv_heads);
  parallel_for(shape.kv_heads, [&](std::size_t h) {
    HeadError head(shape, prompt, cache.store(), h);
    for (std::size_t g = 0; g < group; ++g) {
      before[h].add(head.measure(h * group + g, 0, earlier));
      inside[h].add(head.measure(h * group + g, earlier, prompt.queries));
    }
  });
  Sums sum_before;
  Sums sum_inside;
  for (std::size_t h = 0; h < shape.kv_heads; ++h) {
    sum_before.add(before[h]);
    sum_inside.add(inside[h]);
  }
  return {.window = sum_inside.error(in_window), .earlier = sum_before.error(earlier)};
}

}  // namespace thinkey::eval
