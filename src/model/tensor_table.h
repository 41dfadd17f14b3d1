// What a decoder's tensors are called in either container, what shape each has, and when it must be there.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "formats/model_file.h"
#include "model/spec.h"

namespace thinkey {

enum class Role : std::uint8_t {
  Embedding,
  OutputNorm,
  Output,
  AttentionNorm,
  Query,
  QueryBias,
  Key,
  KeyBias,
  Value,
  ValueBias,
  FusedQkv,
  FusedQkvBias,
  QueryNorm,
  KeyNorm,
  AttentionOutput,
  AttentionOutputBias,
  Sinks,
  AttentionPostNorm,
  FeedForwardNorm,
  Gate,
  GateBias,
  Up,
  UpBias,
  FusedGateUp,
  Down,
  DownBias,
  Router,
  RouterBias,
  FeedForwardPostNorm,
};

// Sizes that depend on the layer; experts' tensors are in expert_tensors.h.
enum class Dim : std::uint8_t {
  One,
  Width,
  Query,
  KeyValue,
  Qkv,
  QueryNorm,
  KeyNorm,
  Heads,
  FeedForward,
  GateUp,
  Experts,
  Vocabulary
};

struct TensorRow {
  Role role;
  const char* gguf;  // after "blk.N." in a layer
  const char* hf;    // after "model.layers.N." in a layer
  Dim rows, cols;
  bool (*wanted)(const ModelSpec& spec, const LayerSpec& layer);
};

[[nodiscard]] const TensorRow& tensor_row(Role role) noexcept;
[[nodiscard]] std::size_t dim_size(Dim dim, const ModelSpec& spec, const LayerSpec& layer) noexcept;

// The whole name in `container`, the family's renaming applied. `layer` is of no account for the model's own.
[[nodiscard]] std::string tensor_name(Role role, Container container, const ModelSpec& spec,
                                      std::size_t layer);
// "blk.N." or "model.layers.N." before a name of the family's.
[[nodiscard]] std::string layer_tensor(Container container, const ModelSpec& spec, std::size_t layer,
                                       std::string_view name);

}  // namespace thinkey
