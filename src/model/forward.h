// The recipe of a decoder, once: norm, attention, norm, feed-forward, for every layer; over the rows of a
// prompt, layer by layer, or over one row of each of several sequences. What a stage does is the backend's
// (backend/backend.h); what differs between layers is their spec (model/spec.h).
//
// Errors are not checked here: ids must be inside the vocabulary, and the caller has made sure that
// the context and the memory suffice (src/engine/session.cpp).
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <limits>
#include <memory>
#include <span>
#include <vector>

#include "backend/backend.h"
#include "base/aligned_buffer.h"
#include "cache/sequence_cache.h"

namespace thinkey {

// A model as the forward pass sees it; refers to what its owner keeps alive.
struct Decoder {
  const Network& network;
  const Backend& backend;
  std::size_t chunk = 512;  // prompt tokens per product, and per step of a prefill
  // NonFiniteError as soon as a layer's queries, keys or values are not finite, in prefill, too; decode
  // always looks, since a cache would make numbers of them.
  bool check_finite = false;
};

// A chunk of what one layer's attention works on, either queries or keys and values (the others are null);
// valid during the call.
struct AttentionInputs {
  std::size_t layer = 0;
  std::size_t first = 0, tokens = 0;  // the chunk's first token in the prompt, and n
  bool rotated = false;               // after RoPE
  const float* q = nullptr;           // [n, H, D]
  const float* k = nullptr;           // [n, Hkv, D]
  const float* v = nullptr;           // [n, Hkv, D]
};

// Watches a prefill into empty caches, for analyses. All queries of all layers are then computed.
class PrefillObserver {
 public:
  virtual ~PrefillObserver() = default;
  // Every chunk of a layer: keys and values before RoPE, then after, then queries likewise; in order.
  virtual void attention_inputs(const AttentionInputs& inputs) = 0;
  // Every cache has compressed the layer; the view holds at least the last `last_queries()` queries.
  virtual void compressed(std::size_t layer, const PromptView& prompt) = 0;
  [[nodiscard]] virtual std::size_t last_queries() const = 0;
};

// A part of the prompt that the model is made to repeat after the whole of it, for caches that are scored by
// that (SequenceCache::wants_replay()). It sees the prompt's keys and its own, runs layer by layer beside the
// prompt, and leaves nothing behind.
struct Replay {
  std::vector<std::int32_t> tokens;  // a request, then the part
  Rows part;                         // of the prompt's tokens
};

struct PrefillOutputs {
  std::span<float> last_logits = {};                             // [V], of the last token
  std::function<void(double done, double total)> progress = {};  // may be empty; unit: multiply-adds
  std::function<void(std::size_t, std::span<const float>)>
      logits;                            // may be empty; [V] for every token in order
  AllocationCounter* counter = nullptr;  // counts the pass
  PrefillObserver* observer = nullptr;   // empty caches only
  std::vector<Replay> replays = {};      // for empty caches that want them
};

// Of a pass that runs `tokens` of a prompt after what the caches hold.
[[nodiscard]] PassRequest prefill_request(const Decoder& decoder, std::size_t tokens,
                                          std::span<const SequenceCache* const> caches,
                                          const PrefillOutputs& outputs);
// Of a pass for a token of each of `sequences`.
[[nodiscard]] PassRequest decode_request(const Decoder& decoder, std::size_t sequences);

// Runs a prompt through the model at the positions that follow those in the cache, layer by layer, a step at
// a time: what calls it may do other work between two steps. A step is one chunk of tokens through one half
// of a layer, or (feed-forward) through a block of its inner channels.
//
// Empty cache: every layer's keys and values are computed whole, attended to, and compressed by
// cache.compress_prompt() before the next layer starts, so one layer's are whole at a time.
// Otherwise (a later chat turn): queries attend to the cached past and to the turn's own keys, the
// two merged by their log-sum-exp, and the turn is appended to the cache layer by layer.
//
// The last layer computes queries and the FFN only for tokens whose results are asked for.
// Left before its end, or by an exception (from a callback, or of memory), it leaves the caches with layers
// of unequal length. Several caches, all empty: the prompt runs once and each cache compresses it in its own
// way.
class Prefill {
 public:
  Prefill(const Decoder& decoder, std::span<const std::int32_t> tokens,
          std::span<SequenceCache* const> caches, PrefillOutputs outputs);
  ~Prefill();
  Prefill(const Prefill&) = delete;
  Prefill& operator=(const Prefill&) = delete;

  // Does a step; false when the prompt is through and the outputs have been delivered. Attention that takes
  // more than `most` multiply-adds takes several steps, of as little as the backend can cut without changing
  // a bit.
  bool advance(double most = std::numeric_limits<double>::infinity());
  // What the next step is, for who knows how long such steps took.
  enum class Step : std::uint8_t { Embed, Project, Attend, Store, FeedForward, Logits };
  static constexpr std::size_t kSteps = 6;
  [[nodiscard]] Step next_step() const noexcept;

 private:
  enum class Stage : std::uint8_t { Embed, Attention, Store, FeedForward, Logits, Done };

  void begin_layer();
  void project();
  [[nodiscard]] bool attention_step(double most);  // false when the chunk has attended
  void attend_past(Rows rows, double most);
  void observe();
  void store();
  void logits_chunk();
  // Rows of one product: of the prompt, or of one replay. Rows of replays lie before the prompt's, which so
  // has the last ones, but are computed after them; the keys of every replay take the places behind the
  // prompt's.
  struct Chunk {
    Rows rows;
    std::size_t place = 0;           // of the first row's key, and its position after the past
    const Replay* replay = nullptr;  // null: the prompt
  };
  void cut();
  [[nodiscard]] const Chunk& chunk() const noexcept { return chunks_[at_]; }
  [[nodiscard]] bool next_chunk() noexcept;  // false after the last
  void report(double work);

  const Network& network_;
  std::vector<std::int32_t> tokens_;    // of all rows
  std::size_t prompt_first_ = 0;        // the prompt's first row
  std::vector<SequenceCache*> caches_;  // one, or several that are empty
  PrefillOutputs outputs_;
  bool check_finite_;
  std::size_t past_;  // positions before this call's first token
  PassRequest request_;
  std::unique_ptr<Pass> pass_;

  Stage stage_ = Stage::Embed;
  std::vector<Chunk> chunks_;
  std::size_t layer_ = 0, at_ = 0;  // at_: the chunk, or the first row of logits
  bool projected_ = false;          // the chunk
  bool attended_ = false;           // to the prompt's keys; those rows of it whose output is needed
  std::size_t past_attended_ = 0;   // rows of those, to the cached past
  LayerExtent extent_;
  std::vector<RowPosition> positions_;  // of the chunk
  double done_ = 0, total_ = 0;
};

// All steps at once.
void prefill(const Decoder& decoder, std::span<const std::int32_t> tokens,
             std::span<SequenceCache* const> caches, const PrefillOutputs& outputs);
inline void prefill(const Decoder& decoder, std::span<const std::int32_t> tokens, SequenceCache& cache,
                    const PrefillOutputs& outputs) {
  SequenceCache* const one[] = {&cache};
  prefill(decoder, tokens, one, outputs);
}

// The next token of one sequence.
struct DecodeInput {
  std::int32_t token = 0;
  SequenceCache* cache = nullptr;
};

// The tokens of a draft that decode_ahead() has appended to a cache.
struct Draft {
  std::size_t tokens = 0;
  std::int64_t position = 0;   // of the first
  std::vector<float> queries;  // [L, tokens, H, D], where the cache remembers queries
};

// Tokens of one sequence that follow one another, at most 1 + cache.withdrawable().
struct AheadInput {
  std::span<const std::int32_t> tokens;
  SequenceCache* cache = nullptr;
  Draft* draft = nullptr;
};

// Appends the first token of every sequence for good, the rest as a draft until settle(). Every weight is
// read once; keys, values and logits [n, V], n all tokens, are, bit by bit, what decode() of one token after
// the other gives. `pass`: made by ahead_request() for exactly n tokens.
[[nodiscard]] PassRequest ahead_request(const Decoder& decoder, std::size_t tokens);
void decode_ahead(const Decoder& decoder, std::span<const AheadInput> batch, Pass& pass, float* logits);
// The first `kept` tokens of the draft stay; it is as if the others had never been.
void settle(SequenceCache& cache, std::size_t layers, Draft& draft, std::size_t kept);

// Appends one token to each of B sequences, reading every weight once for all of them. `pass`: made by
// decode_request() for exactly B sequences. logits [B, V] is the result.
void decode(const Decoder& decoder, std::span<const DecodeInput> batch, Pass& pass, float* logits);

}  // namespace thinkey
