// A pass on the CPU: the stages of a layer over the rows of one call.
#pragma once

#include <cstddef>
#include <span>
#include <vector>

#include "backend/backend.h"
#include "backend/cpu/ops/rope.h"
#include "backend/cpu/pass_memory.h"

namespace thinkey {

class CpuPass final : public Pass {
 public:
  CpuPass(const Network& network, const PassRequest& request, const CpuOptions& options,
          AllocationCounter* counter);

  void embed(Rows rows, std::span<const std::int32_t> tokens) override;

  // cpu_attention.cpp
  void begin_attention(std::size_t layer, const LayerExtent& extent) override;
  void project(Rows rows, std::span<const RowPosition> positions, const Store& store) override;
  [[nodiscard]] const float* queries() const override { return queries_; }
  [[nodiscard]] double hidden_energy(Rows rows) const override;
  [[nodiscard]] std::span<const float> input_norms() const override { return input_norms_; }
  void keep(Rows rows, std::size_t place, const float* keys, const float* values) override;
  bool attend_prompt(Rows rows, std::size_t keys, double most) override;
  [[nodiscard]] float* attended() override;
  [[nodiscard]] float* log_sums() override { return memory_.attention.lse; }
  [[nodiscard]] float* past_attended() override { return memory_.attention.past; }
  [[nodiscard]] float* past_log_sums() override { return memory_.attention.past_lse; }
  void join_past(std::size_t rows) override;
  void join_sinks(std::size_t rows) override;
  void finish_attention(Rows rows) override;
  [[nodiscard]] TokenRows layer_keys() const override;
  [[nodiscard]] TokenRows layer_values() const override;
  [[nodiscard]] const float* observed_queries() const override { return memory_.attention.observed; }
  void gather(Rows rows, const Store& body) override;

  // cpu_feed_forward.cpp
  void begin_feed_forward(std::size_t layer, std::size_t first) override;
  bool feed_forward_step(double& work) override;

  // cpu_logits.cpp
  void logits(Rows rows, float* out) override;
  [[nodiscard]] std::size_t logits_at_once() const override { return sizes_.output_rows; }
  [[nodiscard]] const float* logits(Rows rows) override;

  void watch(std::function<void(const ProjectedRows&)> watcher) override { watcher_ = std::move(watcher); }

 private:
  void load_normed(Rows rows, const Norm& norm, float* out) const;
  // x += bias, row by row; nothing without one.
  static void add_bias(const Linear& linear, std::size_t rows, float* x);
  // hidden += scale * post_norm(x); x is changed.
  void add_to_hidden(Rows rows, const Norm& post_norm, float* x);
  void scale_logits(std::size_t rows, float* logits) const;

  // Attention.
  void turn(std::span<const RowPosition> positions);
  void finish_heads(const Norm& norm, const float* bias, std::size_t heads, std::size_t first,
                    std::size_t rows, float* x) const;
  void rotate(std::size_t heads, std::size_t first, std::size_t rows, float* x) const;
  void scale_by_position(std::span<const RowPosition> positions, std::size_t first, std::size_t rows,
                         float* x) const;
  void keep_observed(Rows rows);
  template <typename Body>
  void for_each_head_row(std::size_t rows, std::size_t place, const Body& body) const;

  // Feed-forward.
  void begin_group();
  void load_group();
  bool dense_step(double& work);
  bool expert_step(double& work);
  void end_group();
  void give_back_layer() const;
  void choose_experts();
  void activate(std::size_t rows, std::size_t width, const float* up, float* gate) const;
  void run_expert(std::size_t expert, double& work);
  void run_few_experts(double& work);

  const Network& network_;
  PassRequest request_;
  CpuOptions options_;
  PassSizes sizes_;
  PassMemory memory_;
  ActivationPrecision activations_;  // of products straight from the file's types
  VectorOrder order_;
  Products products_;
  std::function<void(const ProjectedRows&)> watcher_;

  // The attention under way.
  std::size_t layer_ = 0;
  LayerExtent extent_;
  ReadyMatrix query_, key_, value_, output_;
  const float* queries_ = nullptr;
  std::size_t chunk_first_ = 0;  // the row of the first of them
  std::vector<float> input_norms_;
  // Of its rows those that have attended, and the steps over keys that the next ones have taken.
  std::size_t attended_rows_ = 0, key_steps_ = 0;
  std::vector<float> softmax_state_;  // of a tile, between two of those steps
  RopeAngles angles_;
  int angles_rope_ = -1;  // which table, and of which rows
  std::vector<RowPosition> angles_rows_;
  std::vector<float> frequencies_;

  // The feed-forward under way.
  struct Cursor {
    std::size_t layer = 0, first = 0;  // rows [first, T)
    Rows group;                        // rows between two conversions of weights
    std::size_t block = 0, block_size = 0, chunk = 0;
    bool loaded = false;
    std::size_t expert = 0;
  };
  Cursor ffn_;
  ReadyMatrix gate_, up_, down_;
  struct Chosen {
    std::uint32_t row;
    float weight;
  };
  std::vector<std::vector<Chosen>> chosen_;  // by expert
};

}  // namespace thinkey
