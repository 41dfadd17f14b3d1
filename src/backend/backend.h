// The seam between the recipe (model/forward.h) and the machine that runs it. A backend gives passes: buffers
// for the rows of one call, and the stages of a layer as operations on them. A stage is coarse: it may use
// all threads, keep weights in a form of its own, and cut its work as it likes; nothing is called per token
// and head. Element pointers that cross are in the backend's memory, and only the backend reads through them.
//
// In the shapes: T rows of the pass, d width, H query heads, Hkv KV heads, D head dimension, V vocabulary.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>

#include "backend/network.h"
#include "backend/token_rows.h"
#include "base/aligned_buffer.h"

namespace thinkey {

// Rows [first, first + count) of a pass.
struct Rows {
  std::size_t first = 0, count = 0;
  [[nodiscard]] std::size_t end() const noexcept { return first + count; }
};

// Where a row stands in its sequence, and how long that is in this call (RopeSpec::limit).
struct RowPosition {
  std::int64_t position = 0;
  std::size_t length = 1;
};

struct PassRequest {
  std::size_t rows = 0;         // T: a prompt's tokens, or sequences that get a token each
  std::size_t chunk = 512;      // rows per product
  bool one_token_each = false;  // decode: no keys and values of the pass's own; weights as loaded
  bool as_alone = false;  // with one_token_each: a row's numbers are, bit by bit, those of a pass of its own
  std::size_t observation = 0;  // last queries of every layer that are kept
  bool has_past = false;        // rows also attend to a cache
  bool all_queries = false;     // every layer computes every query
  bool log_sums = false;        // attention also gives its log-sum-exp
  bool all_logits = false;      // logits of every row are asked for, not only of the last
  // Places for a layer's keys and values; 0: one for each row. Fewer than rows where some rows' take turns.
  std::size_t keys = 0;
  bool input_norms = false;  // norms of what queries, keys and values are projected from are asked for

  [[nodiscard]] std::size_t key_places() const noexcept { return keys > 0 ? keys : rows; }
};

// The rows of a layer whose results are needed.
struct LayerExtent {
  std::size_t first_query = 0;   // queries
  std::size_t first_output = 0;  // attention, feed-forward, logits
};
[[nodiscard]] LayerExtent layer_extent(const Network& network, const PassRequest& request,
                                       std::size_t layer) noexcept;

struct PassBytes {
  std::size_t hidden_states = 0;  // [T, d]
  std::size_t layer_kv = 0;       // one layer's whole keys and values
  std::size_t scratch = 0;
};

// Of a chunk, [n, heads, D]; those that are not shown are null. Valid during the call.
struct ProjectedRows {
  Rows rows;
  bool rotated = false;  // after RoPE
  const float *q = nullptr, *k = nullptr, *v = nullptr;
};

class Pass {
 public:
  virtual ~Pass() = default;

  // hidden = embedding * scale
  virtual void embed(Rows rows, std::span<const std::int32_t> tokens) = 0;

  // Of those rows of the residual stream: median over rows of the squared norm that a row would have if it
  // were normal with its median magnitude; a few massive channels or tokens do not move it.
  [[nodiscard]] virtual double hidden_energy(Rows rows) const = 0;

  // -- attention; rows in chunks of at most request.chunk
  virtual void begin_attention(std::size_t layer, const LayerExtent& extent) = 0;
  // Normalises, projects and rotates. `store` is called once, with keys and values [n, Hkv, D]; queries may
  // take their place afterwards. Queries from extent.first_query on.
  using Store = std::function<void(const float* keys, const float* values)>;
  virtual void project(Rows rows, std::span<const RowPosition> positions, const Store& store) = 0;
  [[nodiscard]] virtual const float* queries() const = 0;  // [n, H, D], from the chunk's first row on
  [[nodiscard]] virtual std::span<const float> input_norms() const = 0;  // [n]; with request.input_norms
  // The chunk's keys and values into the layer's own [Hkv, key_places(), D], from `place` on.
  virtual void keep(Rows rows, std::size_t place, const float* keys, const float* values) = 0;
  // Attention of rows of the current chunk over the layer's first `keys` keys; the last row sees all of them.
  // Does about `most` multiply-adds of it, or the least that it can be cut into; true when more is left: it
  // is called with the same rows and keys until there is none. Steps change no bit of the result.
  virtual bool attend_prompt(Rows rows, std::size_t keys, double most) = 0;
  // Where attention goes, [n, H, D] and [n, H] (null unless request.log_sums), of the current chunk's rows
  // whose output is needed.
  [[nodiscard]] virtual float* attended() = 0;
  [[nodiscard]] virtual float* log_sums() = 0;
  // Room for attention over a past; with request.has_past.
  [[nodiscard]] virtual float* past_attended() = 0;
  [[nodiscard]] virtual float* past_log_sums() = 0;
  // Joins attention over the past, of `rows` rows, to attended() and log_sums().
  virtual void join_past(std::size_t rows) = 0;
  // The layer's sinks join the softmax of `rows` rows; nothing where it has none.
  virtual void join_sinks(std::size_t rows) = 0;
  // hidden += scale * post_norm(output(attended))
  virtual void finish_attention(Rows rows) = 0;
  // The layer's keys and values, and its last min(T, observation) queries [n, H, D].
  [[nodiscard]] virtual TokenRows layer_keys() const = 0;
  [[nodiscard]] virtual TokenRows layer_values() const = 0;
  [[nodiscard]] virtual const float* observed_queries() const = 0;
  // A chunk of those as f32 [n, Hkv, D].
  virtual void gather(Rows rows, const Store& body) = 0;

  // -- feed-forward of the rows from `first` on, in steps; what is left of them can be done later
  virtual void begin_feed_forward(std::size_t layer, std::size_t first) = 0;
  // Does one; false when none was left. Adds its multiply-adds to `work`.
  virtual bool feed_forward_step(double& work) = 0;

  // -- logits [n, V] of rows, after the output norm; at most logits_at_once() of them
  virtual void logits(Rows rows, float* out) = 0;
  [[nodiscard]] virtual std::size_t logits_at_once() const = 0;
  // The same into the pass's own memory; with request.all_logits.
  [[nodiscard]] virtual const float* logits(Rows rows) = 0;

  // For analyses: shows what project() computes.
  virtual void watch(std::function<void(const ProjectedRows&)> watcher) = 0;
};

class Backend {
 public:
  virtual ~Backend() = default;
  // All buffers are counted in `counter`, if there is one.
  [[nodiscard]] virtual std::unique_ptr<Pass> pass(const Network& network, const PassRequest& request,
                                                   AllocationCounter* counter) const = 0;
  // What products are computed in, for reports: "f32", "bf16", "bf16+int8"; of decode "f32" or "int8".
  [[nodiscard]] virtual std::string prefill_arithmetic() const = 0;
  [[nodiscard]] virtual std::string decode_arithmetic() const = 0;
  // What such a pass allocates, by arithmetic alone.
  [[nodiscard]] virtual PassBytes pass_bytes(const Network& network, const PassRequest& request) const = 0;
};

}  // namespace thinkey
