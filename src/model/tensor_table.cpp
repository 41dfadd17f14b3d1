#include "model/tensor_table.h"

#include <fmt/format.h>

#include <array>

namespace thinkey {
namespace {

using Spec = const ModelSpec&;
using L = const LayerSpec&;

constexpr bool dense(L l) { return l.feed_forward.experts.count == 0; }
constexpr bool gated(L l) { return is_gated(l.feed_forward.activation); }

// clang-format off
constexpr std::array<TensorRow, 29> kTable{{
  {Role::Embedding, "token_embd.weight", "model.embed_tokens.weight", Dim::Vocabulary, Dim::Width, [](Spec, L) { return true; }},
  {Role::OutputNorm, "output_norm.weight", "model.norm.weight", Dim::One, Dim::Width, [](Spec, L) { return true; }},
  {Role::Output, "output.weight", "lm_head.weight", Dim::Vocabulary, Dim::Width, [](Spec s, L) { return !s.tied_output; }},
  {Role::AttentionNorm, "attn_norm.weight", "input_layernorm.weight", Dim::One, Dim::Width, [](Spec, L l) { return l.attention_norm; }},
  {Role::Query, "attn_q.weight", "self_attn.q_proj.weight", Dim::Query, Dim::Width, [](Spec s, L) { return !s.layout.fused_qkv; }},
  {Role::QueryBias, "attn_q.bias", "self_attn.q_proj.bias", Dim::One, Dim::Query, [](Spec s, L) { return s.layout.qkv_bias && !s.layout.fused_qkv; }},
  {Role::Key, "attn_k.weight", "self_attn.k_proj.weight", Dim::KeyValue, Dim::Width, [](Spec s, L) { return !s.layout.fused_qkv; }},
  {Role::KeyBias, "attn_k.bias", "self_attn.k_proj.bias", Dim::One, Dim::KeyValue, [](Spec s, L) { return s.layout.qkv_bias && !s.layout.fused_qkv; }},
  {Role::Value, "attn_v.weight", "self_attn.v_proj.weight", Dim::KeyValue, Dim::Width, [](Spec s, L) { return !s.layout.fused_qkv; }},
  {Role::ValueBias, "attn_v.bias", "self_attn.v_proj.bias", Dim::One, Dim::KeyValue, [](Spec s, L) { return s.layout.qkv_bias && !s.layout.fused_qkv; }},
  {Role::FusedQkv, "attn_qkv.weight", "self_attn.qkv_proj.weight", Dim::Qkv, Dim::Width, [](Spec s, L) { return s.layout.fused_qkv; }},
  {Role::FusedQkvBias, "attn_qkv.bias", "self_attn.qkv_proj.bias", Dim::One, Dim::Qkv, [](Spec s, L) { return s.layout.qkv_bias && s.layout.fused_qkv; }},
  {Role::QueryNorm, "attn_q_norm.weight", "self_attn.q_norm.weight", Dim::One, Dim::QueryNorm, [](Spec, L l) { return l.attention.qk_norm != QkNorm::None; }},
  {Role::KeyNorm, "attn_k_norm.weight", "self_attn.k_norm.weight", Dim::One, Dim::KeyNorm, [](Spec, L l) { return l.attention.qk_norm != QkNorm::None; }},
  {Role::AttentionOutput, "attn_output.weight", "self_attn.o_proj.weight", Dim::Width, Dim::Query, [](Spec, L) { return true; }},
  {Role::AttentionOutputBias, "attn_output.bias", "self_attn.o_proj.bias", Dim::One, Dim::Width, [](Spec s, L) { return s.layout.output_bias; }},
  {Role::Sinks, "attn_sinks.weight", "self_attn.sinks", Dim::One, Dim::Heads, [](Spec, L l) { return l.attention.sinks; }},
  {Role::AttentionPostNorm, "post_attention_norm.weight", "post_self_attn_layernorm.weight", Dim::One, Dim::Width, [](Spec, L l) { return l.attention_post_norm; }},
  {Role::FeedForwardNorm, "ffn_norm.weight", "post_attention_layernorm.weight", Dim::One, Dim::Width, [](Spec, L l) { return l.feed_forward_norm; }},
  {Role::Gate, "ffn_gate.weight", "mlp.gate_proj.weight", Dim::FeedForward, Dim::Width, [](Spec s, L l) { return dense(l) && gated(l) && !s.layout.fused_gate_up; }},
  {Role::GateBias, "ffn_gate.bias", "mlp.gate_proj.bias", Dim::One, Dim::FeedForward, [](Spec s, L l) { return dense(l) && gated(l) && s.layout.feed_forward_bias; }},
  {Role::Up, "ffn_up.weight", "mlp.up_proj.weight", Dim::FeedForward, Dim::Width, [](Spec s, L l) { return dense(l) && !s.layout.fused_gate_up; }},
  {Role::UpBias, "ffn_up.bias", "mlp.up_proj.bias", Dim::One, Dim::FeedForward, [](Spec s, L l) { return dense(l) && s.layout.feed_forward_bias; }},
  {Role::FusedGateUp, "ffn_up.weight", "mlp.gate_up_proj.weight", Dim::GateUp, Dim::Width, [](Spec s, L l) { return dense(l) && s.layout.fused_gate_up; }},
  {Role::Down, "ffn_down.weight", "mlp.down_proj.weight", Dim::Width, Dim::FeedForward, [](Spec, L l) { return dense(l); }},
  {Role::DownBias, "ffn_down.bias", "mlp.down_proj.bias", Dim::One, Dim::Width, [](Spec s, L l) { return dense(l) && s.layout.feed_forward_bias; }},
  {Role::Router, "ffn_gate_inp.weight", "mlp.gate.weight", Dim::Experts, Dim::Width, [](Spec, L l) { return !dense(l); }},
  {Role::RouterBias, "ffn_gate_inp.bias", "mlp.gate.bias", Dim::One, Dim::Experts, [](Spec s, L l) { return !dense(l) && s.layout.router_bias; }},
  {Role::FeedForwardPostNorm, "post_ffw_norm.weight", "post_mlp_layernorm.weight", Dim::One, Dim::Width, [](Spec, L l) { return l.feed_forward_post_norm; }},
}};
// clang-format on

}  // namespace

const TensorRow& tensor_row(Role role) noexcept { return kTable[static_cast<std::size_t>(role)]; }

std::size_t dim_size(Dim dim, const ModelSpec& spec, const LayerSpec& layer) noexcept {
  const AttentionShape& heads = layer.attention.shape;
  const bool whole = layer.attention.qk_norm == QkNorm::Whole;
  const std::size_t query = heads.query_heads * heads.head_dim;
  const std::size_t kv = heads.kv_heads * heads.head_dim;
  const std::size_t dim_of_head = heads.head_dim;
  switch (dim) {
    case Dim::One:
      return 1;
    case Dim::Width:
      return spec.width;
    case Dim::Query:
      return query;
    case Dim::KeyValue:
      return kv;
    case Dim::Qkv:
      return query + 2 * kv;
    case Dim::QueryNorm:
      return whole ? query : dim_of_head;
    case Dim::KeyNorm:
      return whole ? kv : dim_of_head;
    case Dim::Heads:
      return heads.query_heads;
    case Dim::FeedForward:
      return layer.feed_forward.width;
    case Dim::GateUp:
      return 2 * layer.feed_forward.width;
    case Dim::Experts:
      return layer.feed_forward.experts.count;
    case Dim::Vocabulary:
      break;
  }
  return spec.vocabulary;
}

std::string layer_tensor(Container container, const ModelSpec& spec, std::size_t layer,
                         std::string_view name) {
  for (const auto& [usual, own] : spec.layout.renamed) {
    if (usual == name) {
      name = own;
      break;
    }
  }
  return container == Container::Gguf ? fmt::format("blk.{}.{}", layer, name)
                                      : fmt::format("model.layers.{}.{}", layer, name);
}

std::string tensor_name(Role role, Container container, const ModelSpec& spec, std::size_t layer) {
  const TensorRow& row = tensor_row(role);
  const char* name = container == Container::Gguf ? row.gguf : row.hf;
  return role <= Role::Output ? std::string(name) : layer_tensor(container, spec, layer, name);
}

}  // namespace thinkey
