#pragma once

#include <cstddef>

#include "cache/token_rows.h"

namespace thinkey {

// Queries at positions first .. first+n-1 of one layer and the keys they may see.
struct QueryRange {
  const float* q = nullptr;  // the query at `first`
  std::size_t token_stride = 0, head_stride = 0;
  std::size_t first = 0, n = 0;
  const float* lse = nullptr;  // [n, H] log-sum-exp of their logits, after apply_sinks(), if already known
  TokenRows k;                 // [Hkv, capacity, D]
  std::size_t capacity = 0;
};

}  // namespace thinkey
