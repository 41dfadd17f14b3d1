// Multiply-adds of a forward pass, derived from the network: for progress, and for benchmarks.
#pragma once

#include <cstddef>

#include "backend/backend.h"

namespace thinkey {

// Of a layer's attention half for `rows` rows that end at key `keys` (cached ones included), of which
// `queries` need a query and `outputs` an output. Keys out of a window are not counted.
[[nodiscard]] double attention_work(const Network& network, std::size_t layer, std::size_t rows,
                                    std::size_t queries, std::size_t outputs, double keys) noexcept;
// Of its feed-forward half; of experts those that are used.
[[nodiscard]] double feed_forward_work(const Network& network, std::size_t layer, std::size_t rows) noexcept;
[[nodiscard]] double logits_work(const Network& network, std::size_t rows) noexcept;

// Operations (two per multiply-add) of a prompt's first prefill, the logits apart: those of products with
// weights, and those of attention.
struct PrefillOperations {
  double weights = 0, attention = 0;
  [[nodiscard]] double total() const noexcept { return weights + attention; }
};
[[nodiscard]] PrefillOperations prefill_operations(const Network& network, std::size_t tokens) noexcept;

}  // namespace thinkey
