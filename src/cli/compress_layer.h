// The method on one layer's queries, keys and values, dumped from any framework: what `thinkey compress` does
// between its files.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "backend/stages.h"
#include "thinkey/cache_report.h"
#include "thinkey/cache_spec.h"

namespace thinkey::cli {

// One layer's tensors after RoPE, as float.
struct DumpedLayer {
  std::int64_t query_heads = 0;  // H
  std::int64_t kv_heads = 0;     // Hkv
  std::int64_t tokens = 0;       // T
  std::int64_t head_dim = 0;     // D
  std::vector<float> q;          // [H, T, D]
  std::vector<float> k;          // [Hkv, T, D]
  std::vector<float> v;          // [Hkv, T, D]
  std::vector<float> decode_q;   // [H, D], or empty
  // How q and k were rotated: the inverse frequencies of the first R channels. nullopt: nobody says.
  std::optional<RopeSpec> rope;
};

// What `compress` writes.
struct CompressedLayer {
  std::vector<std::int32_t> kept_tokens;    // [Hkv, B]; -1 fills the rows of heads that keep fewer
  std::vector<std::uint8_t> kept_channels;  // [Hkv, D], 1 = kept
  std::vector<float> channel_scores;        // [Hkv, D]
  std::vector<float> decode_out;            // [H, D], or empty
  std::int64_t budget = 0;                  // B
  CacheReport report;
};

// Error(Data) with path and tensor for shapes that do not fit together or are beyond a limit, and for numbers
// that are none.
[[nodiscard]] DumpedLayer read_layer(const std::string& path);

// Error(Usage) for a policy that needs what the dump does not have: the model itself, or keys as they were
// before RoPE where nobody says how they were rotated.
[[nodiscard]] CompressedLayer compress(const DumpedLayer& layer, const CacheSpec& spec);

}  // namespace thinkey::cli
