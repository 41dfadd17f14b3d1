// One layer of one sequence's cache in the backend's memory. Policies (src/cache) ask it for statistics,
// decide, and answer with lists of tokens, lists of channels and bits; element data never leaves it, but for
// analyses. Every operation is a stage of all KV heads of the layer, which may use all threads.
//
// A head has two segments: `thin` holds tokens reduced to the planned channels and formats, `recent` the
// latest ones whole and in 16 bits. Where the format reduces nothing there is only the first.
//
// In the shapes: H query heads, Hkv KV heads, G = H / Hkv, D head dimension, T tokens of the prompt.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "backend/attention_shape.h"
#include "backend/key_plan.h"
#include "backend/prompt_view.h"
#include "base/aligned_buffer.h"

namespace thinkey {

class ByteReader;
class ByteWriter;

struct StoreFormat {
  ElementFormat keys = ElementFormat::I16;  // of the thin segment, where no prompt was compressed
  ElementFormat values = ElementFormat::I16;
  std::size_t value_group = 32;  // value channels that share a scale: 32, 64 or 128
  bool reduces = false;          // thin tokens differ from recent ones
  std::size_t recent = 0;        // latest tokens that stay whole, where it reduces
  std::size_t sinks = 0;         // first tokens of those kept that do, at most 32
  bool runs = false;             // a head's thin tokens are neighbours: a block has but its first's
                                 // position
  std::size_t remembered = 0;    // latest queries that votes() counts

  // Rows of memory for the latest queries after so many came, at most: they grow with what comes.
  [[nodiscard]] std::size_t query_rows(std::size_t queries) const noexcept {
    const std::size_t wanted = queries < 16 ? 32 : 2 * queries;
    return wanted < remembered ? wanted : remembered;
  }
  // Of `kept` prompt tokens, how many are sinks, which stay in the recent segment.
  [[nodiscard]] std::size_t sink_share(std::size_t kept) const noexcept {
    return !reduces ? 0 : kept < sinks ? kept : sinks;
  }
  // Of `kept` prompt tokens that are no sinks, how many stay in the recent segment.
  [[nodiscard]] std::size_t recent_share(std::size_t kept) const noexcept {
    if (!reduces) return 0;
    const std::size_t share = kept < recent ? kept : recent;
    // KIVI's groups are whole: what does not fill one waits in 16 bits.
    const bool groups = values != ElementFormat::I16 && !is_level(values);
    return groups ? share + (kept - share) % kBlockTokens : share;
  }
};

// What a head holds, by number.
struct HeadSizes {
  std::size_t thin = 0, recent = 0;  // tokens
  KeyCounts keys{};                  // channels of the thin segment
  std::size_t values = 0;            // likewise
  ElementFormat value_format = ElementFormat::I16;
  bool key_mean = false;  // HeadPlan::key_mean
};

// Lists of tokens, [Hkv], ascending.
using TokenLists = std::vector<std::vector<std::int32_t>>;

// Of one KV head, [D] each.
struct KeyStatistics {
  std::vector<double> query_energy;  // mean of q_j^2 over the last queries and the group's heads
  std::vector<double> energy;        // mean of k_j^2 over the listed tokens
  std::vector<double> mean;          // of k_j
  std::vector<double>
      range_energy;  // mean over blocks of 32 listed tokens of (max k_j - min k_j)^2; if asked for
};

// Of the queries of one query head, as they were before RoPE.
struct QueryMoments {
  std::size_t count = 0;
  std::vector<double> sum;       // [D]
  std::vector<double> products;  // [D, D], of q q^T; empty: not wanted
};

// What independent noise in a KV head's thin tokens does to the attention's output, after W_o: where it is r
// times as strong as what it disturbs (values as they are, keys without their mean), the mean square error
// over the last queries is about r values for values, and r keys[0] + r^2 keys[1] + r^3 keys[2] for keys,
// whose noise the softmax sees exponentiated.
struct NoiseCosts {
  double values = 0.0;
  double keys[3] = {};
  double output = 0.0;  // mean square of what is disturbed, likewise after W_o
};

// A number for each token, [Hkv][n], or for each query head of the group too, [Hkv][G * n].
using TokenNumbers = std::vector<std::vector<float>>;

enum class ValueNorm : std::uint8_t {
  Value,     // |v|
  OutputL1,  // sum of the absolute values of W_o v, W_o being the query head's columns
  OutputL2,  // |W_o v|
};

// How far keys and values of a token are spread, [Hkv][n] each; LayerStore::lag_spread().
struct LagSpread {
  TokenNumbers keys, values;
};

// What a head holds as attention sees it, for analyses.
struct HeldTokens {
  std::size_t thin = 0;                 // tokens before this one are of the thin segment
  std::vector<std::int32_t> positions;  // [n]
  std::vector<float> keys, values;      // [n, D], zero where pruned
  std::vector<float> key_mean;          // [D]; q . key_mean is added to thin logits. Empty: nothing is
};

class LayerStore;

// The latest token's queries of one sequence, and where their attention goes.
struct TokenAttention {
  const LayerStore* store = nullptr;
  std::int64_t position = 0;
  const float* q = nullptr;  // [H, D]
  float* out = nullptr;      // [H, D]
  float* lse = nullptr;      // [H], or null
};

class LayerStore {
 public:
  virtual ~LayerStore() = default;

  // -- statistics of a prompt, before it is packed

  // sums[h * pitch + t] += sum over the queries of softmax(q K^T)[t], logits as the layer's shape says, sinks
  // in the denominator, causal; t < first + n <= pitch. [H, pitch]
  virtual void add_attention_sums(const QueryRange& queries, std::size_t pitch,
                                  std::span<float> sums) const = 0;
  // Over the last `window` queries and the tokens of the lists. [Hkv]
  [[nodiscard]] virtual std::vector<KeyStatistics> key_statistics(const PromptView& prompt,
                                                                  std::size_t window,
                                                                  const TokenLists& tokens,
                                                                  bool ranges) const = 0;
  // Mean square of softmax(Q K^T) V[:, j] over the last `window` queries and the group's heads, attention
  // being over the tokens of the lists. [Hkv][D]
  [[nodiscard]] virtual std::vector<std::vector<double>> output_energy(const PromptView& prompt,
                                                                       std::size_t window,
                                                                       const TokenLists& tokens) const = 0;

  // Over the last `window` queries; of the tokens of the lists those that pack() will make thin. [Hkv]
  [[nodiscard]] virtual std::vector<NoiseCosts> noise_costs(const PromptView& prompt, std::size_t window,
                                                            const TokenLists& tokens) const = 0;

  // -- statistics of tokens: of a prompt's, or (null) of those that each head holds, thin then recent, as
  // they are held

  // Cosine of each key and the mean of the keys' directions. [Hkv][n]
  [[nodiscard]] virtual TokenNumbers key_similarity(const PromptView* prompt) const = 0;
  // Mean over the other keys i of cos(k_i, k_t), leaving out those i of whose resembling keys (cosine above
  // `similarity`) t is the latest. [Hkv][n]
  [[nodiscard]] virtual TokenNumbers key_redundancy(const PromptView* prompt, double similarity) const = 0;
  // Leverage scores x^T (X^T X)^-1 x of the listed tokens' keys, before RoPE and without their mean; of a
  // prompt only. [Hkv][end - begin]
  [[nodiscard]] virtual TokenNumbers key_leverage(const PromptView& prompt, std::size_t begin,
                                                  std::size_t end) const = 0;
  // [Hkv][n], or [Hkv][G * n] of W_o v.
  [[nodiscard]] virtual TokenNumbers value_norms(const PromptView* prompt, ValueNorm norm) const = 0;
  // Tokens from `first` on in partitions of `lag`; of each partition but the last, for every token the
  // standard deviation over the channels of (x - low) / (high - low), of which low and high are the channel's
  // in the partition that follows. [Hkv][partitions - 1, lag]
  [[nodiscard]] virtual LagSpread lag_spread(const PromptView* prompt, std::size_t first,
                                             std::size_t lag) const = 0;

  // -- statistics of queries

  // moments [H] += the queries from position `from` on, RoPE undone; `length`: of their sequence
  // (RowPosition).
  virtual void add_query_moments(const QueryRange& queries, std::size_t from, std::size_t length,
                                 std::span<QueryMoments> moments) const = 0;
  // Of the remembered queries. [H]
  [[nodiscard]] virtual std::vector<QueryMoments> remembered_moments(bool products,
                                                                     std::size_t length) const = 0;
  // Logarithm of the expected exp(logit) of queries of these means and covariances that stand at positions
  // next .. next + future - 1, RoPE averaged over them: s mu^T k + s^2 / 2 k^T Sigma k, s being the scale of
  // logits; a soft cap is not considered. [Hkv][G * n]
  [[nodiscard]] virtual TokenNumbers expected_logits(const PromptView* prompt,
                                                     std::span<const QueryMoments> moments, std::int64_t next,
                                                     std::size_t future) const = 0;
  // sums[h * pitch + t] += sum over the queries from position `from` on of softmax(q K^T)[t] over the keys
  // from there on of the query's own block of so many positions, later ones included; the last block of a
  // range ends with it. [H, pitch]
  virtual void add_local_attention(const QueryRange& queries, std::size_t from, std::size_t block,
                                   std::size_t pitch, std::span<float> sums) const = 0;
  // peaks[h * pitch + t] = max with softmax(q K^T)[t] of each query (over input_norms, if there are any), t
  // being a token that is repeated. The softmax is over the first `sinks` tokens, the repeated ones and the
  // replay's own up to the query's. [H, pitch]
  virtual void raise_replay_peaks(const ReplayRange& replay, std::size_t sinks, std::size_t pitch,
                                  std::span<float> peaks) const = 0;

  // -- tokens

  // Stores the listed tokens of a prompt in an empty layer, each head by its plan.
  virtual void pack(const PromptView& prompt, const TokenLists& tokens, std::vector<HeadPlan> plans) = 0;
  // Encodes a head's thin tokens, which are levels, anew in other numbers of bits.
  virtual void recode(std::size_t kv_head, ElementFormat keys, ElementFormat values) = 0;
  // Appends n whole tokens at positions first, first + 1, ...; what leaves the recent segment is reduced as
  // planned (without pack(): every channel is kept). k and v: [n, Hkv, D], `stride` elements between tokens.
  virtual void append(std::size_t n, std::int64_t first, const float* k, const float* v,
                      std::size_t stride) = 0;
  // Gives up blocks at the front whose tokens all stand before `position`; later blocks take their memory.
  virtual void forget_before(std::int64_t position) = 0;
  // How many of the tokens that will be appended one by one after the next one, at position `next`, are only
  // added: nothing is reduced and nothing given up for them. At most kBlockTokens; it may be fewer than
  // could.
  [[nodiscard]] virtual std::size_t withdrawable(std::int64_t next) const = 0;
  // The latest n tokens, of those that withdrawable() promised, leave as if they had not come.
  virtual void withdraw(std::size_t n) = 0;
  // SequenceCache::attend().
  virtual void attend(std::size_t n, std::int64_t first, const float* q, float* out, float* lse) const = 0;
  // attend() with n = 1 of each of several sequences, whose stores are of this kind, as one stage: the same
  // numbers.
  virtual void attend_together(std::span<const TokenAttention> tokens) const = 0;

  // -- evicting again

  // Remembers queries at positions first, ... [n, H, D], as many of the latest as the format says.
  virtual void remember(std::size_t n, std::int64_t first, const float* q) = 0;
  // Attention that each head's tokens, thin then recent, receive from the remembered queries: [Hkv] of
  // [G, tokens], by rows of as many tokens as the head holds.
  [[nodiscard]] virtual std::vector<std::vector<float>> votes() const = 0;
  // Keeps only the thin tokens with these indices (ascending), in their order; [Hkv], none: the head's all.
  virtual void keep_thin(std::span<const std::optional<std::vector<std::int32_t>>> indices) = 0;

  // -- what it holds

  [[nodiscard]] virtual HeadSizes sizes(std::size_t kv_head) const = 0;
  [[nodiscard]] virtual HeadPlan plan(std::size_t kv_head) const = 0;
  [[nodiscard]] virtual HeldTokens read(std::size_t kv_head) const = 0;
  [[nodiscard]] virtual std::vector<std::int32_t> positions(std::size_t kv_head) const = 0;
  [[nodiscard]] virtual std::size_t bytes() const noexcept = 0;  // allocated
  // A layer that holds what this one does of the tokens before `end`, remembered queries included. Element
  // data is shared where neither will write it; the two must be used by one thread at a time.
  [[nodiscard]] virtual std::unique_ptr<LayerStore> fork(std::int64_t end,
                                                         AllocationCounter* counter) const = 0;
  virtual void save(ByteWriter& out) const = 0;
  // Into an empty layer; every token must stand before `next_position`. Error(Data) for what cannot be.
  virtual void restore(ByteReader& in, std::int64_t next_position) = 0;
};

// A chunk of a prompt's queries and all keys and values up to its last one; query i sees keys - n + i + 1.
struct PromptAttention {
  std::size_t n = 0, keys = 0;
  std::size_t capacity = 0;                // tokens between two heads of k and v; >= keys
  const float* q = nullptr;                // [n, H, D]
  const float *k = nullptr, *v = nullptr;  // [Hkv, capacity, D]
};

// Where layers are stored: what a backend offers to the cache.
class LayerStores {
 public:
  virtual ~LayerStores() = default;
  // For caches whose prompts come from another engine, which has no Pass. out [n, H, D], lse [n, H]; sinks
  // are left to join_sinks().
  virtual void attend_prompt(const AttentionShape& shape, const PromptAttention& chunk, float* out,
                             float* lse) const = 0;
  // Joins attention of n queries over two disjoint sets of keys.
  virtual void join(const AttentionShape& shape, std::size_t n, float* out, float* lse, const float* past,
                    const float* past_lse) const = 0;
  virtual void join_sinks(const AttentionShape& shape, std::size_t n, float* out, float* lse) const = 0;
  // Element storage is counted in `counter`, if there is one.
  [[nodiscard]] virtual std::unique_ptr<LayerStore> make(const AttentionShape& shape,
                                                         const StoreFormat& format,
                                                         AllocationCounter* counter) const = 0;
  // Bytes of a head right after pack(), by arithmetic alone.
  [[nodiscard]] virtual std::size_t head_bytes(const AttentionShape& shape, const StoreFormat& format,
                                               const HeadSizes& sizes) const = 0;
};

// The backend of this build (backend/default_stores.cpp, the one place that chooses).
[[nodiscard]] const LayerStores& default_stores() noexcept;

}  // namespace thinkey
