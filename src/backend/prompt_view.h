// A layer's queries, keys and values of a prompt as they lie in the backend's memory, which alone reads them.
#pragma once

#include <cstddef>

#include "backend/token_rows.h"

namespace thinkey {

// One layer's whole prompt, after RoPE, right after its prefill.
struct PromptView {
  std::size_t tokens = 0;  // T

  const float* q = nullptr;                           // the last `queries` queries
  std::size_t queries = 0;                            // at least min(T, spec.observation_window())
  std::size_t q_token_stride = 0, q_head_stride = 0;  // elements; the D values of a head are contiguous

  TokenRows k, v;            // [Hkv, capacity, D]
  std::size_t capacity = 0;  // tokens between two heads; >= T

  // Energy of the residual stream that the layer's output is added to (Pass::hidden_energy).
  // 0: of the attention's own output, where a norm follows that.
  double residual = 1.0;
};

// Queries at positions first .. first+n-1 of one layer and the keys they may see.
struct QueryRange {
  const float* q = nullptr;  // the query at `first`
  std::size_t token_stride = 0, head_stride = 0;
  std::size_t first = 0, n = 0;
  const float* lse = nullptr;  // [n, H] log-sum-exp of their logits, after apply_sinks(), if already known
  TokenRows k;                 // [Hkv, capacity, D]
  std::size_t capacity = 0;
  std::size_t tokens = 0;  // T of the whole prompt; 0: capacity

  [[nodiscard]] std::size_t length() const noexcept { return tokens > 0 ? tokens : capacity; }
};

// Queries of a replay: tokens that stand after the whole prompt and repeat a part of it. Their own keys stand
// in the places from own_first on, behind the prompt's.
struct ReplayRange {
  QueryRange queries;                  // .first: the place of the first one's key
  std::size_t begin = 0, end = 0;      // the prompt's tokens that are repeated
  std::size_t own_first = 0;           // place of the replay's first key
  const float* input_norms = nullptr;  // [n] norms of the rows that queries are made of
};

// The last `n` queries of a prompt; it must have them.
[[nodiscard]] inline QueryRange last_queries(const PromptView& prompt, std::size_t n) noexcept {
  return {.q = prompt.q + (prompt.queries - n) * prompt.q_token_stride,
          .token_stride = prompt.q_token_stride,
          .head_stride = prompt.q_head_stride,
          .first = prompt.tokens - n,
          .n = n,
          .lse = nullptr,
          .k = prompt.k,
          .capacity = prompt.capacity,
          .tokens = prompt.tokens};
}

}  // namespace thinkey
