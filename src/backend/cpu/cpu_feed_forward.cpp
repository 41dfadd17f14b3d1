// The feed-forward half of a layer. Some thousand rows at a time (a group) go through the inner channels
// block by block, so that few weights are wide at once; their normed rows are kept for that, since the hidden
// states change meanwhile. With experts, a group's rows are sorted by expert, and each expert's weights are
// read once.
#include <algorithm>
#include <cmath>
#include <numeric>

#include "backend/cpu/cpu_pass.h"
#include "backend/cpu/ops/activation.h"
#include "backend/cpu/ops/convert.h"
#include "backend/cpu/ops/matvec.h"
#include "backend/cpu/ops/norm.h"
#include "base/mapped_file.h"
#include "base/parallel.h"

namespace thinkey {

using U = FeedForwardScratch::U;

void CpuPass::begin_feed_forward(std::size_t layer, std::size_t first) {
  ffn_ = {.layer = layer, .first = first, .group = {first, 0}};
  begin_group();
}

void CpuPass::begin_group() {
  ffn_.group.first = ffn_.group.end();
  if (ffn_.group.count == 0) ffn_.group.first = ffn_.first;
  ffn_.group.count = std::min(sizes_.ffn_rows, request_.rows - ffn_.group.first);
  ffn_.loaded = false;
  ffn_.block = ffn_.chunk = ffn_.expert = 0;
  const FeedForwardSpec& spec = network_.layers[ffn_.layer].feed_forward.spec;
  const bool few = request_.one_token_each || request_.rows - ffn_.first <= kFewRows;
  ffn_.block_size = few ? spec.width : std::min(spec.width, sizes_.ffn_block);
}

// The group's normed rows, and room for its sum.
void CpuPass::load_group() {
  const FeedForwardScratch& s = memory_.feed_forward;
  const Norm& norm = network_.layers[ffn_.layer].feed_forward_norm;
  const std::size_t width = network_.width;
  const bool half = s.half_normed != nullptr && request_.rows - ffn_.first > kFewRows;
  for (std::size_t at = 0; at < ffn_.group.count; at += sizes_.chunk) {
    const Rows rows{ffn_.group.first + at, std::min(sizes_.chunk, ffn_.group.count - at)};
    float* normed = half ? memory_.feed_forward.up.begin(U::Rows, rows.count * width) : s.normed + at * width;
    load_normed(rows, norm, normed);
    if (half) {
      parallel_for(rows.count, [&](std::size_t t) {
        f32_to_bf16(normed + t * width, width, s.half_normed + (at + t) * width);
      });
    }
  }
  if (s.summed != nullptr) std::fill_n(s.summed, ffn_.group.count * width, 0.0F);
  if (network_.layers[ffn_.layer].feed_forward.spec.experts.count > 0) choose_experts();
  ffn_.loaded = true;
}

bool CpuPass::feed_forward_step(double& work) {
  if (ffn_.group.first >= request_.rows) return false;
  if (!ffn_.loaded) {
    load_group();
    if (!sizes_.few) return true;
  }
  const bool more =
      network_.layers[ffn_.layer].feed_forward.spec.experts.count > 0 ? expert_step(work) : dense_step(work);
  if (!more) {
    end_group();
    if (ffn_.group.end() >= request_.rows) {
      ffn_.group = {request_.rows, 0};
      if (!sizes_.few) give_back_layer();
    } else {
      begin_group();
    }
  }
  return true;
}

// The file's pages of matrices that new tokens read elsewhere; this prompt has no more use for them.
void CpuPass::give_back_layer() const {
  const Layer& layer = network_.layers[ffn_.layer];
  const auto give_back = [](const Linear& linear) {
    const MatrixView& m = linear.weight;
    if (m.packed != nullptr) give_back_mapped({m.data, m.bytes()});
  };
  const auto feed_forward = [&](const FeedForwardWeights& w) {
    for (const Linear* linear : {&w.gate, &w.up, &w.down}) give_back(*linear);
  };
  const Attention& a = layer.attention;
  for (const Linear* linear : {&a.query, &a.key, &a.value, &a.output}) give_back(*linear);
  feed_forward(layer.feed_forward.dense);
  for (const FeedForwardWeights& expert : layer.feed_forward.experts) feed_forward(expert);
}

void CpuPass::end_group() {
  const Layer& layer = network_.layers[ffn_.layer];
  if (!layer.feed_forward_post_norm && layer.feed_forward.spec.experts.count == 0) return;
  for (std::size_t at = 0; at < ffn_.group.count; at += sizes_.chunk) {
    const Rows rows{ffn_.group.first + at, std::min(sizes_.chunk, ffn_.group.count - at)};
    add_to_hidden(rows, layer.feed_forward_post_norm, memory_.feed_forward.summed + at * network_.width);
  }
}

void CpuPass::activate(std::size_t rows, std::size_t width, const float* up, float* gate) const {
  gated_activation(network_.layers[ffn_.layer].feed_forward.spec.activation, gate, up, rows * width, gate);
}

// One chunk of rows through one block of inner channels.
bool CpuPass::dense_step(double& work) {
  const Layer& layer = network_.layers[ffn_.layer];
  const FeedForwardWeights& w = layer.feed_forward.dense;
  FeedForwardScratch& s = memory_.feed_forward;
  const std::size_t width = network_.width;
  const std::size_t outputs = request_.rows - ffn_.first;
  const std::size_t inner = std::min(ffn_.block_size, layer.feed_forward.spec.width - ffn_.block);
  const bool gated = is_gated(layer.feed_forward.spec.activation);
  if (ffn_.chunk == 0) {
    products_.start_phase(s.products);
    if (gated) gate_ = products_.ready_outputs(w.gate.weight, ffn_.block, inner, outputs);
    up_ = products_.ready_outputs(w.up.weight, ffn_.block, inner, outputs);
    down_ = products_.ready_columns(w.down.weight, ffn_.block, inner, outputs);
  }
  const Rows rows{ffn_.group.first + ffn_.chunk, std::min(sizes_.chunk, ffn_.group.count - ffn_.chunk)};
  const std::size_t row = ffn_.chunk * width;
  if (s.half_normed != nullptr && outputs > kFewRows) {
    products_.set_input(s.half_normed + row, rows.count, width);
  } else {
    products_.set_input(s.normed + row, rows.count, width);
  }
  float* up = s.up.begin(U::Up, rows.count * inner);
  const Products::Job jobs[] = {{&up_, up}, {&gate_, s.gate}};
  products_.multiply(std::span(jobs).first(gated ? 2 : 1));
  const auto add_part = [&](const Linear& linear, float* x) {
    if (linear.bias == nullptr) return;
    parallel_for(rows.count, [&](std::size_t r) { add(linear.bias + ffn_.block, inner, x + r * inner); });
  };
  add_part(w.gate, s.gate);
  add_part(w.up, up);
  activate(rows.count, inner, up, s.gate);
  products_.set_input(s.gate, rows.count, inner);
  float* out = s.up.begin(U::Rows, rows.count * width);
  products_.multiply(down_, out, width);
  if (ffn_.block == 0) add_bias(w.down, rows.count, out);
  if (layer.feed_forward_post_norm) {
    parallel_for(rows.count, [&](std::size_t r) { add(out + r * width, width, s.summed + row + r * width); });
  } else {
    add_to_hidden(rows, {}, out);
  }
  work += static_cast<double>(rows.count) * static_cast<double>(width * inner) * (gated ? 3 : 2);

  ffn_.chunk += sizes_.chunk;
  if (ffn_.chunk < ffn_.group.count) return true;
  ffn_.chunk = 0;
  ffn_.block += ffn_.block_size;
  return ffn_.block < layer.feed_forward.spec.width;
}

// Each row's best experts, by the router's logits; in f32, since a near tie decides which weights are used.
void CpuPass::choose_experts() {
  const FeedForward& f = network_.layers[ffn_.layer].feed_forward;
  const FeedForwardScratch& s = memory_.feed_forward;
  const std::size_t count = f.spec.experts.count;
  matvec(f.router.weight, s.normed, ffn_.group.count, s.router, ActivationPrecision::F32, order_);
  add_bias(f.router, ffn_.group.count, s.router);
  chosen_.resize(std::max(chosen_.size(), count));
  for (std::vector<Chosen>& rows : chosen_) rows.clear();
  std::vector<std::size_t> order(count);
  for (std::size_t r = 0; r < ffn_.group.count; ++r) {
    const float* logits = s.router + r * count;
    std::iota(order.begin(), order.end(), std::size_t{0});
    const auto better = [&](std::size_t a, std::size_t b) {
      return logits[a] > logits[b] || (logits[a] == logits[b] && a < b);
    };
    const auto used = static_cast<std::ptrdiff_t>(f.spec.experts.used);
    std::partial_sort(order.begin(), order.begin() + used, order.end(), better);
    const float peak = logits[order[0]];
    float total = 0.0F;
    const std::size_t among = f.spec.experts.normalised ? f.spec.experts.used : count;
    for (std::size_t i = 0; i < among; ++i) {
      total += std::exp((f.spec.experts.normalised ? logits[order[i]] : logits[i]) - peak);
    }
    for (std::size_t i = 0; i < f.spec.experts.used; ++i) {
      chosen_[order[i]].push_back({static_cast<std::uint32_t>(r), std::exp(logits[order[i]] - peak) / total});
    }
  }
}

bool CpuPass::expert_step(double& work) {
  const std::size_t count = network_.layers[ffn_.layer].feed_forward.spec.experts.count;
  if (sizes_.few && ffn_.group.count == 1) {
    run_few_experts(work);
    return false;
  }
  while (ffn_.expert < count && chosen_[ffn_.expert].empty()) ++ffn_.expert;
  if (ffn_.expert == count) return false;
  run_expert(ffn_.expert++, work);
  return ffn_.expert < count;
}

void CpuPass::run_expert(std::size_t expert, double& work) {
  const FeedForward& f = network_.layers[ffn_.layer].feed_forward;
  const FeedForwardWeights& w = f.experts[expert];
  const std::vector<Chosen>& chosen = chosen_[expert];
  FeedForwardScratch& s = memory_.feed_forward;
  const std::size_t width = network_.width;
  const std::size_t inner = f.spec.width;
  products_.start_phase(s.products);
  gate_ = products_.ready(w.gate.weight, chosen.size());
  up_ = products_.ready(w.up.weight, chosen.size());
  down_ = products_.ready(w.down.weight, chosen.size());
  for (std::size_t begin = 0; begin < chosen.size(); begin += sizes_.chunk) {
    const std::size_t n = std::min(sizes_.chunk, chosen.size() - begin);
    for (std::size_t i = 0; i < n; ++i) {
      std::copy_n(s.normed + chosen[begin + i].row * width, width, s.gathered + i * width);
    }
    products_.set_input(s.gathered, n, width);
    float* up = s.up.begin(U::Up, n * inner);
    const Products::Job jobs[] = {{&gate_, s.gate}, {&up_, up}};
    products_.multiply(jobs);
    add_bias(w.gate, n, s.gate);
    add_bias(w.up, n, up);
    activate(n, inner, up, s.gate);
    products_.set_input(s.gate, n, inner);
    float* out = s.up.begin(U::Rows, n * width);
    products_.multiply(down_, out, width);
    add_bias(w.down, n, out);
    parallel_for(n, [&](std::size_t i) {
      const Chosen& c = chosen[begin + i];
      float* to = s.summed + c.row * width;
      for (std::size_t j = 0; j < width; ++j) to[j] += c.weight * out[i * width + j];
    });
    work += static_cast<double>(n) * 3 * static_cast<double>(width * inner);
  }
}

// One row: the gates and ups of all its experts in one parallel region.
void CpuPass::run_few_experts(double& work) {
  const FeedForward& f = network_.layers[ffn_.layer].feed_forward;
  FeedForwardScratch& s = memory_.feed_forward;
  const std::size_t width = network_.width;
  const std::size_t inner = f.spec.width;
  std::vector<std::pair<std::size_t, float>> used;
  for (std::size_t e = 0; e < f.spec.experts.count; ++e) {
    if (!chosen_[e].empty()) used.emplace_back(e, chosen_[e].front().weight);
  }
  float* up = s.up.begin(U::Up, used.size() * inner);
  std::vector<MatvecJob> jobs;
  for (std::size_t i = 0; i < used.size(); ++i) {
    const FeedForwardWeights& w = f.experts[used[i].first];
    jobs.push_back({w.gate.weight, s.gate + i * inner});
    jobs.push_back({w.up.weight, up + i * inner});
  }
  matvec(jobs.data(), jobs.size(), s.normed, 1, activations_);
  for (std::size_t i = 0; i < used.size(); ++i) {
    const FeedForwardWeights& w = f.experts[used[i].first];
    add_bias(w.gate, 1, s.gate + i * inner);
    add_bias(w.up, 1, up + i * inner);
  }
  activate(used.size(), inner, up, s.gate);
  float* out = s.up.begin(U::Rows, width);
  for (std::size_t i = 0; i < used.size(); ++i) {
    const FeedForwardWeights& w = f.experts[used[i].first];
    matvec(w.down.weight, s.gate + i * inner, 1, out, activations_);
    add_bias(w.down, 1, out);
    for (std::size_t j = 0; j < width; ++j) s.summed[j] += used[i].second * out[j];
  }
  work += static_cast<double>(used.size()) * 3 * static_cast<double>(width * inner);
}

}  // namespace thinkey
