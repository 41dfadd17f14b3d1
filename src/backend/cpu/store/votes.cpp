// What the latest queries look at among the tokens a layer holds: the statistic behind evicting again.
#include <algorithm>
#include <limits>
#include <utility>
#include <vector>

#include "backend/cpu/ops/matmul.h"
#include "backend/cpu/ops/softmax.h"
#include "backend/cpu/store/cpu_layer_store.h"
#include "base/parallel.h"

namespace thinkey {

void CpuLayerStore::remember(std::size_t n, std::int64_t first, const float* q) {
  const std::size_t most = format_.remembered;
  if (most == 0) return;
  const std::size_t row = query_width();
  const std::int64_t count =
      std::min(static_cast<std::int64_t>(most), queries_count_ + static_cast<std::int64_t>(n));
  grow_queries(static_cast<std::size_t>(count));
  for (std::size_t i = n > most ? n - most : 0; i < n; ++i) {
    std::copy_n(q + i * row, row,
                queries_.data() + (static_cast<std::size_t>(first) + i) % query_rows() * row);
  }
  queries_end_ = first + static_cast<std::int64_t>(n);
  queries_count_ = count;
}

void CpuLayerStore::grow_queries(std::size_t rows) {
  const std::size_t have = query_rows();
  if (rows <= have) return;
  const std::size_t row = query_width();
  const std::size_t wanted = std::max(rows, format_.query_rows(have));
  AlignedBuffer<float> grown(wanted * row, counter_);
  grown.fill(0.0F);
  for (std::int64_t p = queries_end_ - queries_count_; p < queries_end_; ++p) {
    const auto position = static_cast<std::size_t>(p);
    std::copy_n(queries_.data() + position % have * row, row, grown.data() + position % wanted * row);
  }
  queries_ = std::move(grown);
}

std::vector<std::vector<float>> CpuLayerStore::votes() const {
  std::vector<std::vector<float>> all(heads_.size());
  parallel_for(heads_.size(), [&](std::size_t h) { all[h] = votes(h); });
  return all;
}

// Attention that the head's tokens, thin then recent, receive from the remembered queries: [G, tokens].
std::vector<float> CpuLayerStore::votes(std::size_t kv_head) const {
  const HeadStore& head = heads_[kv_head];
  const std::size_t dim = shape_.head_dim;
  const std::size_t group = shape_.group();
  const auto queries = static_cast<std::size_t>(queries_count_);
  const std::size_t rows = group * queries;  // row g * queries + i
  const std::size_t tokens = head.tokens();
  const float scale = shape_.logit_scale();

  std::vector<float> whole(rows * dim);
  std::vector<float> reduced(rows * head.kept_keys().size());
  std::vector<float> bias(rows);
  const auto position = [&](std::size_t i) {
    return queries_end_ - queries_count_ + static_cast<std::int64_t>(i);
  };
  for (std::size_t r = 0; r < rows; ++r) {
    const std::size_t slot = static_cast<std::size_t>(position(r % queries)) % query_rows();
    const float* from = queries_.data() + (slot * shape_.query_heads + kv_head * group + r / queries) * dim;
    for (std::size_t c = 0; c < dim; ++c) whole[r * dim + c] = from[c] * scale;
    head.kept_keys().reduce_query(whole.data() + r * dim, reduced.data() + r * head.kept_keys().size());
    bias[r] = head.kept_keys().bias(whole.data() + r * dim);
  }

  constexpr float kHidden = -std::numeric_limits<float>::infinity();
  std::vector<float> logits(rows * tokens);
  std::size_t at = 0;
  const auto score = [&](const Segment& segment, const std::vector<float>& q, const float* constant) {
    StagedBlock block;
    for (std::size_t b = 0; b < segment.blocks(); ++b) {
      decode_block(segment.layout(), segment.block(b), block);
      MatmulShape product;
      product.m = rows;
      product.n = block.tokens;
      product.k = product.lda = segment.layout().key_channels;
      product.ldb = kBlockTokens;
      product.ldc = tokens;
      product.b_transposed = false;
      matmul(product, q.data(), block.keys.data(), logits.data() + at);
      for (std::size_t r = 0; r < rows; ++r) {
        float* row = logits.data() + r * tokens + at;
        if (constant != nullptr) {
          for (std::size_t t = 0; t < block.tokens; ++t) row[t] += constant[r];
        }
        softcap(row, block.tokens, shape_.softcap);
        const auto now = static_cast<std::size_t>(position(r % queries));
        for (std::size_t t = 0; t < block.tokens; ++t) {
          if (!shape_.sees(now, static_cast<std::size_t>(block.positions[t]))) row[t] = kHidden;
        }
      }
      at += block.tokens;
    }
  };
  score(head.thin(), reduced, head.kept_keys().has_mean() ? bias.data() : nullptr);
  score(head.recent(), whole, nullptr);

  std::vector<float> votes(group * tokens, 0.0F);
  for (std::size_t r = 0; r < rows; ++r) {
    float* row = logits.data() + r * tokens;
    softmax(row, tokens, shape_.sink(kv_head * group + r / queries));
    for (std::size_t t = 0; t < tokens; ++t) votes[r / queries * tokens + t] += row[t];
  }
  return votes;
}

}  // namespace thinkey
