// The attention half of a layer.
#include <algorithm>
#include <cmath>

#include "backend/cpu/cpu_pass.h"
#include "backend/cpu/ops/activation.h"
#include "backend/cpu/ops/convert.h"
#include "backend/cpu/ops/merge_attention.h"
#include "backend/cpu/ops/norm.h"
#include "backend/cpu/ops/prefill_attention.h"
#include "base/parallel.h"

namespace thinkey {

namespace {

float row_norm(const float* x, std::size_t width) {
  double sum = 0.0;
  for (std::size_t i = 0; i < width; ++i) sum += static_cast<double>(x[i]) * x[i];
  return static_cast<float>(std::sqrt(sum));
}

}  // namespace

using A = AttentionScratch::A;
using B = AttentionScratch::B;

void CpuPass::begin_attention(std::size_t layer, const LayerExtent& extent) {
  layer_ = layer;
  extent_ = extent;
  const Attention& a = network_.layers[layer].attention;
  const std::size_t rows = request_.rows;
  products_.start_phase(memory_.attention.products);
  query_ = products_.ready(a.query.weight, rows - extent.first_query);
  key_ = products_.ready(a.key.weight, rows);
  value_ = products_.ready(a.value.weight, rows);
  output_ = products_.ready(a.output.weight, rows - extent.first_output);
}

// The angles of a chunk's rows; those of the last chunk are kept.
void CpuPass::turn(std::span<const RowPosition> positions) {
  const int rope = network_.layers[layer_].attention.spec.rope;
  if (rope < 0) return;
  const auto same = [](const RowPosition& x, const RowPosition& y) {
    return x.position == y.position && x.length == y.length;
  };
  if (rope == angles_rope_ &&
      std::equal(positions.begin(), positions.end(), angles_rows_.begin(), angles_rows_.end(), same)) {
    return;
  }
  const RopeSpec& spec = network_.ropes[static_cast<std::size_t>(rope)];
  angles_.resize(positions.size(), spec.inverse_frequencies.size());
  // Rows of a prompt share their length; sequences have each their own.
  const bool one_length = std::all_of(positions.begin(), positions.end(), [&](const RowPosition& p) {
    return p.length == positions.front().length;
  });
  if (one_length) {
    const std::span<const float> frequencies = rope_frequencies(spec, positions.front().length, frequencies_);
    parallel_for(positions.size(),
                 [&](std::size_t t) { angles_.set(t, frequencies, spec.magnitude, positions[t].position); });
  } else {
    for (std::size_t t = 0; t < positions.size(); ++t) {
      angles_.set(t, rope_frequencies(spec, positions[t].length, frequencies_), spec.magnitude,
                  positions[t].position);
    }
  }
  angles_rope_ = rope;
  angles_rows_.assign(positions.begin(), positions.end());
}

// Bias and norm of the heads of x [n, heads, D], rows [first, first + n) of the chunk.
void CpuPass::finish_heads(const Norm& norm, const float* bias, std::size_t heads, std::size_t first,
                           std::size_t rows, float* x) const {
  const std::size_t dim = network_.heads().head_dim;
  const std::size_t width = heads * dim;
  x += first * width;
  if (bias != nullptr) parallel_for(rows, [&](std::size_t r) { add(bias, width, x + r * width); });
  switch (network_.layers[layer_].attention.spec.qk_norm) {
    case QkNorm::None:
      break;
    case QkNorm::PerHead:
      return normalise(norm, rows * heads, dim, x);
    case QkNorm::Whole:
      return normalise(norm, rows, width, x);
  }
}

void CpuPass::rotate(std::size_t heads, std::size_t first, std::size_t rows, float* x) const {
  const int rope_index = network_.layers[layer_].attention.spec.rope;
  if (rope_index < 0) return;
  const std::size_t dim = network_.heads().head_dim;
  rope(network_.ropes[static_cast<std::size_t>(rope_index)].pairs, angles_, first, rows, heads, dim,
       heads * dim, x + first * heads * dim);
}

void CpuPass::scale_by_position(std::span<const RowPosition> positions, std::size_t first, std::size_t rows,
                                float* x) const {
  const AttentionSpec& spec = network_.layers[layer_].attention.spec;
  if (spec.position_beta == 0.0F) return;
  const std::size_t width = network_.query_width();
  for (std::size_t r = first; r < first + rows; ++r) {
    const float steps = std::floor(static_cast<float>(positions[r].position) / spec.position_every);
    const float factor = 1.0F + spec.position_beta * std::log(1.0F + steps);
    if (factor != 1.0F) scale(factor, width, x + r * width);
  }
}

void CpuPass::project(Rows rows, std::span<const RowPosition> positions, const Store& store) {
  const Attention& a = network_.layers[layer_].attention;
  AttentionScratch& s = memory_.attention;
  const std::size_t n = rows.count;
  const std::size_t heads = network_.heads().query_heads;
  const std::size_t kv_heads = network_.heads().kv_heads;
  const std::size_t query_width = network_.query_width();
  const std::size_t kv_width = network_.kv_width();
  // Queries of the rows from `skipped` on are wanted.
  const std::size_t skipped = std::min(n, std::max(rows.first, extent_.first_query) - rows.first);
  const bool together = sizes_.few && skipped == 0;

  turn(positions);
  float* normed = s.a.begin(A::Normed, n * network_.width);
  load_normed(rows, network_.layers[layer_].attention_norm, normed);
  chunk_first_ = rows.first;
  attended_rows_ = key_steps_ = 0;
  if (request_.input_norms) {
    input_norms_.resize(n);
    for (std::size_t r = 0; r < n; ++r) {
      input_norms_[r] = row_norm(normed + r * network_.width, network_.width);
    }
  }
  products_.set_input(normed, n, network_.width);
  float* keys = together ? s.b.begin(B::All, n * (query_width + 2 * kv_width)) + n * query_width
                         : s.b.begin(B::KeysValues, 2 * n * kv_width);
  float* values = keys + n * kv_width;
  float* queries = nullptr;
  if (together) {
    queries = s.b.get(B::All);
    const Products::Job jobs[] = {{&query_, queries}, {&key_, keys}, {&value_, values}};
    products_.multiply(jobs);
  } else {
    const Products::Job jobs[] = {{&key_, keys}, {&value_, values}};
    products_.multiply(jobs);
  }
  finish_heads(a.key_norm, a.key.bias, kv_heads, 0, n, keys);
  add_bias(a.value, n, values);
  if (watcher_) watcher_({.rows = rows, .rotated = false, .k = keys, .v = values});
  rotate(kv_heads, 0, n, keys);
  if (watcher_) watcher_({.rows = rows, .rotated = true, .k = keys, .v = values});
  store(keys, values);

  if (skipped < n && !together) {
    queries = s.b.begin(B::Queries, n * query_width);
    products_.set_input(normed + skipped * network_.width, n - skipped, network_.width);
    products_.multiply(query_, queries + skipped * query_width, query_width);
  }
  queries_ = queries;
  if (queries == nullptr) return;
  finish_heads(a.query_norm, a.query.bias, heads, skipped, n - skipped, queries);
  if (watcher_) watcher_({.rows = rows, .rotated = false, .q = queries});
  rotate(heads, skipped, n - skipped, queries);
  scale_by_position(positions, skipped, n - skipped, queries);
  if (watcher_) watcher_({.rows = rows, .rotated = true, .q = queries});
  keep_observed(rows);
}

// Keeps those of the chunk's queries that belong to the observation window.
void CpuPass::keep_observed(Rows rows) {
  float* observed = memory_.attention.observed;
  if (observed == nullptr) return;
  const std::size_t window = request_.rows - std::min(request_.rows, request_.observation);
  if (rows.end() <= window) return;
  const std::size_t first = std::max(rows.first, window);
  const std::size_t width = network_.query_width();
  std::copy_n(queries_ + (first - rows.first) * width, (rows.end() - first) * width,
              observed + (first - window) * width);
}

template <typename Body>
void CpuPass::for_each_head_row(std::size_t rows, std::size_t place, const Body& body) const {
  const std::size_t heads = network_.heads().kv_heads;
  const std::size_t dim = network_.heads().head_dim;
  parallel_for(heads, [&](std::size_t head) {
    for (std::size_t t = 0; t < rows; ++t) {
      body((t * heads + head) * dim, (head * request_.key_places() + place + t) * dim);
    }
  });
}

void CpuPass::keep(Rows rows, std::size_t place, const float* keys, const float* values) {
  const std::size_t dim = network_.heads().head_dim;
  const auto copy = [&](const float* from, AlignedBuffer<float>& f32, AlignedBuffer<bf16_bits>& bf16) {
    for_each_head_row(rows.count, place, [&](std::size_t row, std::size_t to) {
      if (f32.size() > 0) {
        std::copy_n(from + row, dim, f32.data() + to);
      } else {
        f32_to_bf16(from + row, dim, bf16.data() + to);
      }
    });
  };
  copy(keys, memory_.key_f32, memory_.key_bf16);
  copy(values, memory_.value_f32, memory_.value_bf16);
}

void CpuPass::gather(Rows rows, const Store& body) {
  const std::size_t dim = network_.heads().head_dim;
  const std::size_t floats = rows.count * network_.kv_width();
  float* keys = memory_.attention.b.begin(B::KeysValues, 2 * floats);
  float* values = keys + floats;
  const auto copy = [&](TokenRows layer, float* to) {
    for_each_head_row(rows.count, rows.first, [&](std::size_t row, std::size_t place) {
      const float* from = (layer + place).load(dim, to + row);
      if (from != to + row) std::copy_n(from, dim, to + row);
    });
  };
  copy(layer_keys(), keys);
  copy(layer_values(), values);
  body(keys, values);
}

bool CpuPass::attend_prompt(Rows rows, std::size_t keys, double most) {
  const AttentionShape& shape = network_.layers[layer_].attention.spec.shape;
  if (attended_rows_ == 0 && key_steps_ == 0) static_cast<void>(attended());  // begins
  const std::size_t left = rows.count - attended_rows_;
  const std::size_t tile = prefill_attention_tile(shape);
  std::size_t seen = keys;
  if (shape.sliding_window > 0) seen = std::min(seen, shape.sliding_window + tile);
  const double key_work = 2.0 * static_cast<double>(network_.query_width());  // of a row
  const double affordable = most / (key_work * static_cast<double>(seen));    // rows

  PrefillAttention part{.shape = shape, .queries = left, .keys = keys, .key_capacity = request_.key_places()};
  if (affordable < static_cast<double>(left) || key_steps_ > 0) {
    const std::size_t tiles = key_steps_ > 0 ? 1 : static_cast<std::size_t>(affordable) / tile;
    part.queries = std::min(left, std::max<std::size_t>(tiles, 1) * tile);
    part.keys = keys - (left - part.queries);
    if (tiles == 0 || key_steps_ > 0) {
      const double step = key_work * static_cast<double>(part.queries * kPrefillAttentionKeys);
      softmax_state_.resize(2 * tile * shape.query_heads);
      part.state = softmax_state_.data();
      part.begin = key_steps_;
      part.steps = std::max<std::size_t>(1, static_cast<std::size_t>(std::min(most / step, 1e6)));
    }
  }
  // Queries lie from the chunk's first row on, results from the first that is needed.
  const std::size_t first = rows.first + attended_rows_;
  const float* q = queries_ + (first - chunk_first_) * network_.query_width();
  const std::size_t before = first - std::max(chunk_first_, extent_.first_output);
  float* out = memory_.attention.a.get(A::Attended) + before * network_.query_width();
  float* lse = memory_.attention.lse;
  if (lse != nullptr) lse += before * shape.query_heads;
  const bool more =
      options_.precision == Precision::BF16
          ? prefill_attention(part, q, memory_.key_bf16.data(), memory_.value_bf16.data(), out, lse)
          : prefill_attention(part, q, memory_.key_f32.data(), memory_.value_f32.data(), out, lse);
  key_steps_ = more ? key_steps_ + part.steps : 0;
  if (!more) attended_rows_ += part.queries;
  if (attended_rows_ < rows.count) return true;
  attended_rows_ = 0;
  return false;
}

float* CpuPass::attended() {
  return memory_.attention.a.begin(A::Attended, sizes_.chunk * network_.query_width());
}

void CpuPass::join_past(std::size_t rows) {
  const AttentionScratch& s = memory_.attention;
  const AttentionShape& heads = network_.heads();
  merge_attention(rows * heads.query_heads, heads.head_dim, s.a.get(A::Attended), s.lse, s.past, s.past_lse);
}

void CpuPass::join_sinks(std::size_t rows) {
  const AttentionShape& shape = network_.layers[layer_].attention.spec.shape;
  if (shape.sinks != nullptr) {
    apply_sinks(shape, rows, memory_.attention.a.get(A::Attended), memory_.attention.lse);
  }
}

void CpuPass::finish_attention(Rows rows) {
  const Layer& layer = network_.layers[layer_];
  const float* attended = memory_.attention.a.get(A::Attended);
  float* projected = memory_.attention.b.begin(B::Projected, rows.count * network_.width);
  products_.set_input(attended, rows.count, network_.query_width());
  products_.multiply(output_, projected, network_.width);
  add_bias(layer.attention.output, rows.count, projected);
  add_to_hidden(rows, layer.attention_post_norm, projected);
}

TokenRows CpuPass::layer_keys() const {
  return memory_.key_f32.size() > 0 ? TokenRows(memory_.key_f32.data()) : TokenRows(memory_.key_bf16.data());
}
TokenRows CpuPass::layer_values() const {
  return memory_.value_f32.size() > 0 ? TokenRows(memory_.value_f32.data())
                                      : TokenRows(memory_.value_bf16.data());
}

}  // namespace thinkey
