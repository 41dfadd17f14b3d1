// The tensors of experts, which every container and family stacks in its own way.
#pragma once

#include <deque>
#include <set>
#include <string>
#include <vector>

#include "backend/network.h"
#include "base/aligned_buffer.h"
#include "formats/model_file.h"
#include "model/spec.h"

namespace thinkey {

struct ExpertSource {
  const ModelFile& file;
  const ModelSpec& spec;
  std::size_t layer;
  std::set<std::string>& used;                // names of tensors bound so far
  std::deque<AlignedBuffer<float>>& vectors;  // own what has to be copied
  std::deque<AlignedBuffer<std::byte>>& converted;
};

// The layer's experts, from one matrix each (Qwen3-MoE), from stacks [E, F, d] (GGUF), or from transposed
// stacks with gate and up interleaved (gpt-oss). Throws Error(Data).
[[nodiscard]] std::vector<FeedForwardWeights> bind_experts(const ExpertSource& source);

// The tensor of that name and shape. Throws Error(Data) naming it.
[[nodiscard]] const Tensor& checked_tensor(const ModelFile& file, const std::string& name, std::size_t planes,
                                           std::size_t rows, std::size_t cols);

}  // namespace thinkey
