// What is done to the KV cache, as a value: token eviction, then channel pruning, then quantization.
// Written as stages: "full", "snapkv:2048", "think:0.5", "kivi:4", "turbo:keys=3,values=2",
// "snapkv:budget=25%,window=32,kernel=7,pool=max+think:keys=0.4,values=0.3+kivi:2".
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <variant>

#include "thinkey/eviction_policies.h"

namespace thinkey {

// Which prompt tokens a KV head keeps: a policy scores them, and the best within the budget stay. What scores
// are made of is the policy's; how a layer's places are given out is the same for all that score.
struct EvictionSpec {
  PolicyOptions policy;
  // Budget B per KV head: a number of tokens, or (percent > 0) a share of the prompt.
  std::size_t budget = 0;
  double percent = 0.0;
  std::size_t every = 0;  // evict again after so many generated tokens and at chat turns; 0: never

  // Not for Streaming, which has no scores.
  bool adakv = false;     // a layer's places go to the best tokens of all its heads (2407.11550), in blocks
  double floor = 0.2;     // ... but for this share of B, which each head has for itself
  bool critical = false;  // half of B by score, the rest by score times |W_o v| (2502.03805)
  std::size_t chunk = 0;  // tokens are ranked by so many together (2502.00299); 0: one by one

  bool operator==(const EvictionSpec&) const = default;

  [[nodiscard]] bool active() const noexcept { return !std::holds_alternative<NoEviction>(policy); }
  // B for a prompt of `tokens` tokens; at least what the policy always keeps, at most `tokens`.
  [[nodiscard]] std::size_t budget_for(std::size_t tokens) const;
  // Whether what stays depends on the prompt's last queries: then it serves the question they ask. Otherwise
  // a compressed prompt serves any question after it.
  [[nodiscard]] bool question_dependent() const;
};

enum class KeyForm : std::uint8_t {
  Mixed,  // the bytes of D' channels, spent as 16, 8, 4, 2 or no bits per channel
  Paper,  // D' channels whole, the others dropped, as the paper has it
};

// ThinK (2407.21018): the share of channels removed from all but the most recent tokens; of keys by default
// the bytes of so many channels, taken where the scores say that they are missed least.
struct ChannelSpec {
  double keys = 0.0;        // pruning ratio lambda in [0, 1): D' = D - floor(lambda * D)
  double values = 0.0;      // likewise for values
  std::size_t recent = 32;  // latest tokens that stay whole
  std::size_t window = 32;  // S, queries that score the channels
  bool bias = false;        // what pruning drops is replaced by its mean over the thin tokens
  bool adaptive = false;    // the same number of channels, spread over heads and layers by marginal loss
  KeyForm form = KeyForm::Mixed;
  bool operator==(const ChannelSpec&) const = default;

  [[nodiscard]] bool active() const noexcept { return keys > 0.0 || values > 0.0; }
  [[nodiscard]] bool mixed() const noexcept { return keys > 0.0 && form == KeyForm::Mixed; }
  // D' for a head of `head_dim` channels.
  [[nodiscard]] std::size_t kept_keys(std::size_t head_dim) const noexcept;
  [[nodiscard]] std::size_t kept_values(std::size_t head_dim) const noexcept;
};

// KIVI (2402.02750): keys per channel in groups of 32 tokens, values per token in groups of channels.
struct QuantizationSpec {
  std::size_t bits = 16;       // 16 (off), 8, 4 or 2
  std::size_t group = 32;      // value channels that share a scale: 32, 64 or 128
  std::size_t residual = 128;  // latest tokens that stay in 16 bits
  bool operator==(const QuantizationSpec&) const = default;

  [[nodiscard]] bool active() const noexcept { return bits != 16; }
};

// TurboQuant (2504.19874) with a scale that does not shrink: keys and values of a token are rotated and
// become levels of a code book for normal numbers, with one 8-bit scale for each. Keys lose the mean of their
// channels first; a query's product with it is added to its logits.
struct TurboSpec {
  std::size_t keys = 16;    // bits: 16 (off), 8, 6, 5, 4, 3, 2 or 1
  std::size_t values = 16;  // likewise; both are off or none is
  std::size_t sinks = 4;    // first tokens that stay in 16 bits, at most 32
  std::size_t recent = 28;  // latest tokens that do; with the sinks a block of 32
  // Or a budget: the cache of a compressed prompt takes this share of full f16, or so many bytes, and each
  // head's keys and values get the bits that save most. Generated tokens come on top, in the same bits.
  double percent = 0.0;   // 0: no budget
  std::size_t bytes = 0;  // likewise
  bool operator==(const TurboSpec&) const = default;

  [[nodiscard]] bool budgeted() const noexcept { return percent > 0.0 || bytes > 0; }
  [[nodiscard]] bool active() const noexcept { return keys != 16 || budgeted(); }
};

struct CacheSpec {
  EvictionSpec eviction;
  ChannelSpec channels;
  QuantizationSpec quantization;
  TurboSpec turbo;  // excludes `quantization`
  // The stages are chosen for turbo's budget when the prompt is compressed ("auto:25%", "auto:512MiB"): 16
  // bits where they fit, bits by head below, fewer tokens below that. Excludes all stages but turbo.
  bool automatic = false;
  bool operator==(const CacheSpec&) const = default;

  // Throws Error(Usage) naming the offending word and the choices.
  [[nodiscard]] static CacheSpec parse(std::string_view text);

  // What it means, without what its stages do not look at: stages that do nothing and options of other
  // policies have their defaults. parse() gives such specs.
  [[nodiscard]] CacheSpec normalized() const;

  // Canonical form: parse(to_string()) == normalized(), for every valid spec.
  [[nodiscard]] std::string to_string() const;

  // Throws Error(Usage) when a value is out of range; parse() has already checked.
  void validate() const;

  // The last prompt queries a layer must keep for scoring; 0 when nothing is scored.
  [[nodiscard]] std::size_t observation_window() const;

  // Whether the last prompt queries decide what is kept: an eviction policy that looks at them, channels,
  // which ThinK scores by them, or a budget, whose bits go where they look. Such a cache is made for the
  // question it has seen.
  [[nodiscard]] bool question_dependent() const {
    return eviction.question_dependent() || channels.active() || turbo.budgeted();
  }

  // Whether there is a thin segment that differs from whole 16-bit tokens.
  [[nodiscard]] bool compresses() const noexcept {
    return channels.active() || quantization.active() || turbo.active();
  }
  // Latest tokens that stay whole: `recent` of ThinK and Turbo, KIVI's residual, whichever is most.
  [[nodiscard]] std::size_t recent_tokens() const noexcept;
};

}  // namespace thinkey
