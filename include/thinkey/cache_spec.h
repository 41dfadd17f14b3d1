// What is done to the KV cache, as a value: token eviction, then channel pruning, then storage.
// Written as stages: "full", "snapkv:2048", "think:0.5",
// "snapkv:budget=25%,window=32,kernel=7,pool=max+think:0.4".
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace thinkey {

// Which prompt tokens a KV head keeps.
enum class Eviction : std::uint8_t {
  None,    // all of them
  SnapKV,  // those the last prompt queries attend to (2404.14469)
};

enum class Pooling : std::uint8_t { Average, Max };

struct EvictionSpec {
  Eviction policy = Eviction::None;
  // Budget B per KV head: a number of tokens, or (percent > 0) a share of the prompt.
  std::int64_t budget = 0;
  double percent = 0.0;
  std::int64_t window = 32;  // S, the observation window: last prompt queries, always kept
  std::int64_t kernel = 5;   // pooling width along tokens, odd
  Pooling pooling = Pooling::Average;
  bool operator==(const EvictionSpec&) const = default;

  // B for a prompt of `tokens` tokens; at least `window`, at most `tokens`.
  [[nodiscard]] std::int64_t budget_for(std::int64_t tokens) const noexcept;
};

// ThinK (2407.21018): the share of channels removed from all but the most recent tokens.
struct ChannelSpec {
  double keys = 0.0;         // pruning ratio lambda in [0, 1): D' = D - floor(lambda * D)
  std::int64_t recent = 32;  // latest tokens whose keys stay whole
  std::int64_t window = 32;  // S, queries that score the channels
  bool operator==(const ChannelSpec&) const = default;

  [[nodiscard]] bool active() const noexcept { return keys > 0.0; }
  // D' for a head of `head_dim` channels.
  [[nodiscard]] std::int64_t kept_keys(std::int64_t head_dim) const noexcept;
};

struct CacheSpec {
  EvictionSpec eviction;
  ChannelSpec channels;
  bool operator==(const CacheSpec&) const = default;

  // Throws Error(Usage) naming the offending word and the choices.
  [[nodiscard]] static CacheSpec parse(std::string_view text);

  // Canonical form; parse(to_string()) is the same spec.
  [[nodiscard]] std::string to_string() const;

  // Throws Error(Usage) when a value is out of range; parse() has already checked.
  void validate() const;

  // The last prompt queries a layer must keep for scoring; 0 when nothing is scored.
  [[nodiscard]] std::int64_t observation_window() const noexcept;
};

}  // namespace thinkey
