// Looks inside one prefill: per layer the channels' magnitudes, the ranks, and what each cache spec costs.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <vector>

#include "eval/analysis/cache_error.h"
#include "eval/analysis/channel_statistics.h"
#include "thinkey/cache_spec.h"
#include "thinkey/model.h"

namespace thinkey::eval {

struct SpecErrors {
  std::string cache;  // canonical spec
  std::size_t bytes = 0, full_bytes = 0;
  std::vector<LayerError> layers;  // [L]
};

struct Analysis {
  std::string model;
  std::size_t tokens = 0, layers = 0, query_heads = 0, kv_heads = 0, head_dim = 0;
  std::size_t window = 0;  // the last queries of "window" errors; `earlier` takes up to kEarlierQueries more
  bool interleaved = false;                 // RoPE rotates channels (2i, 2i + 1), not (i, i + D/2)
  std::vector<LayerStatistics> statistics;  // [L]
  std::vector<SpecErrors> specs;
};

inline constexpr std::size_t kEarlierQueries = 64;

// Runs the prompt through the model once; every spec compresses it. Beyond what the prefill needs, memory
// grows with D^2 and, per head at work, with its keys and values and 16 rows of T logits. `progress` as
// Session's. Error(Usage) for no tokens, Error(Data) when they exceed the model's context or the memory.
[[nodiscard]] Analysis analyze(const Model& model, std::span<const std::int32_t> tokens,
                               std::span<const CacheSpec> specs,
                               const std::function<void(double done, double total)>& progress = {});

}  // namespace thinkey::eval
